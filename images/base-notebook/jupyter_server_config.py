# The settings of every Jupyter server of the stack. Loaded by Jupyter, which provides get_config.
import os

c = get_config()  # noqa: F821
c.ServerApp.ip = "0.0.0.0"  # a container's ports are published by whoever starts it
c.ServerApp.port = int(os.environ.get("JUPYTER_PORT", "8888"))
c.ServerApp.port_retries = 0
c.ServerApp.open_browser = False
c.FileContentsManager.delete_to_trash = False

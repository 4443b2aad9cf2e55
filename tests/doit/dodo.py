"""The tasks of a conformance case as tasks of doit, and a reporter that writes events as `--reporter json` does.

Reads the tasks from the file DOIT_TASKS names; writes events to the file DOIT_EVENTS names. What it cannot say in
doit's terms it hands over as it is, so that doit refuses it.
"""

import datetime
import json
import os
import re
import shlex
import subprocess

from doit import create_after, get_var
from doit.action import CmdAction
from doit.tools import check_timestamp_unchanged, config_changed, result_dep, run_once, timeout

with open(os.environ["DOIT_TASKS"]) as file:
    FILE = json.load(file)
TASKS = FILE.get("tasks") or {}
CONFIG = FILE.get("config") or {}
COMPUTING = {name for task in TASKS.values() if isinstance(task, dict) for name in task.get("calc_dep", [])
             if isinstance(name, str)}


class Events:
    """What doit tells a reporter, as events."""

    desc = "events of a conformance case"

    def __init__(self, outstream, options):
        self.file = open(os.environ["DOIT_EVENTS"], "a")

    def say(self, event, task, **more):
        # doit makes a task of its own for a target that it looks for.
        hidden = not task.actions or task.name.startswith("_")
        if task.name.startswith("_regex_target_"):
            return
        self.file.write(json.dumps({"event": event, "task": task.name, "hidden": hidden, **more}) + "\n")
        self.file.flush()

    def execute_task(self, task):
        if task.actions:
            self.say("task_started", task)

    def add_success(self, task):
        self.say("task_finished", task, outcome="ran")

    def skip_uptodate(self, task):
        self.say("task_finished", task, outcome="up-to-date")

    def skip_ignore(self, task):
        self.say("task_finished", task, outcome="ignored")

    def add_failure(self, task, fail):
        kinds = {"TaskFailed": "failed", "UnmetDependency": "unmet"}
        self.say("task_finished", task, outcome=kinds.get(fail.get_name(), "error"))

    def nothing(self, *_):
        pass

    initialize = get_status = teardown_task = cleanup_error = runtime_error = nothing

    def complete_run(self):
        self.file.close()


DOIT_CONFIG = {"reporter": Events, "verbosity": 0, "backend": "json", "dep_file": ".doit.db"}
if "default_tasks" in CONFIG:
    DOIT_CONFIG["default_tasks"] = CONFIG["default_tasks"]
if CONFIG.get("continue_on_failure"):
    DOIT_CONFIG["continue"] = True
if "jobs" in CONFIG:
    DOIT_CONFIG["num_process"] = CONFIG["jobs"]
if CONFIG.get("checker") == "timestamp":
    DOIT_CONFIG["check_file_uptodate"] = "timestamp"
if "minversion" in CONFIG:
    DOIT_CONFIG["minversion"] = CONFIG["minversion"]


def words(value):
    if isinstance(value, (list, tuple, set)):
        return " ".join(shlex.quote(str(item).strip()) for item in value)
    return shlex.quote(str(value).strip())


def fill(text, names):
    """Replaces `{{ name }}` and `{{ name.key }}`."""
    def look_up(found):
        value = names
        for part in found[1].split("|")[0].strip().split("."):
            value = value[part]
        return str(value) if "raw" in found[1] else words(value)
    return re.sub(r"\{\{(.*?)\}\}", look_up, text)


def scope(task, bound):
    values = {"file_dep": sorted(task.file_dep), "changed": sorted(task.dep_changed), "targets": task.targets}
    variables = {name: get_var(name, value if isinstance(value, str) else value.get("default"))
                 for name, value in (FILE.get("vars") or {}).items()}
    rest = {task.pos_arg: task.pos_arg_val} if task.pos_arg else {}
    return {**bound, **values, **(task.options or {}), **rest, "vars": variables, "task": task.name}


def action(value, task, bound):
    """One action: text for a shell, a list of words, or a map with `cmd`."""
    if isinstance(value, list):
        return value
    step = value if isinstance(value, dict) else {"cmd": value}
    command = step.get("cmd")
    if not isinstance(command, (str, list)):
        return value
    if isinstance(command, list):
        command = shlex.join(command)
    if step.get("ignore_error"):
        command = f"({command}) || true"
    options = {"save_out": step.get("save")}
    env = {**(task.get("env") or {}), **(step.get("env") or {})}
    if env:
        options["env"] = {**os.environ, **env}
    if task.get("cwd"):
        options["cwd"] = task["cwd"]

    def text(task):
        return fill(command, scope(task, bound))
    return CmdAction((text, [], {}), **options) if "{{" in command else CmdAction(command, **options)


def computing(command):
    """The last action of a task that others name in calc_dep: its output is the answer."""
    def run():
        return json.loads(subprocess.run(command, shell=True, check=True, capture_output=True, text=True).stdout)
    return (run,)


def check(item):
    if not isinstance(item, dict):
        return item
    [(name, value)] = item.items()
    if name == "run_once":
        return run_once
    if name == "config_changed":
        return config_changed(value)
    if name == "timeout":
        units = {"ms": 0.001, "s": 1, "m": 60, "h": 3600}
        [(number, unit)] = re.findall(r"^(\d+)(\w+)$", str(value)) or [(value, "s")]
        return timeout(datetime.timedelta(seconds=int(number) * units[unit]))
    if name == "stat":
        path, field = (value, "modify") if isinstance(value, str) else (value["path"], value.get("field", "modify"))
        return check_timestamp_unchanged(path, field)
    raise Exception(f"no check {name}")


def param(value):
    kinds = {"int": int, "float": float, "bool": bool, "list": list}
    kind = kinds.get(value.get("type"), str)
    default = value.get("default", {list: []}.get(kind))
    known = {"name", "default", "type", "long", "short", "env", "choices", "inverse", "help"}
    known |= {"secret", "required", "pattern"}
    unknown = {key: value[key] for key in value if key not in known}
    option = {**unknown, "name": value["name"], "default": default, "type": kind}
    option["long"] = value.get("long", value["name"])
    if "short" in value:
        option["short"] = value["short"]
    if "env" in value:
        option["env_var"] = value["env"]
    if "choices" in value:
        option["choices"] = [(choice, "") for choice in value["choices"]]
    if value.get("inverse"):
        option["inverse"] = "no-" + value["name"] if value["inverse"] is True else value["inverse"]
    return option


def translate(name, task, bound):
    plain = ["task_dep", "file_dep", "setup", "calc_dep", "doc", "verbosity", "pos_arg"]
    found = {key: task[key] for key in plain if key in task}
    for key in ("file_dep", "task_dep"):
        if isinstance(found.get(key), list):
            found[key] = [fill(item, bound) if isinstance(item, str) else item for item in found[key]]
    if isinstance(task.get("actions"), list):
        found["actions"] = [action(item, task, bound) for item in task["actions"]]
    elif "actions" in task or "task_dep" in task:
        found["actions"] = task.get("actions")
    if name in COMPUTING:
        found["actions"][-1] = computing(task["actions"][-1])
    if "targets" in task:
        found["targets"] = [fill(target["path"] if isinstance(target, dict) else target, bound).rstrip("/")
                            for target in task["targets"]]
        found["clean"] = True
    if "clean" in task:
        clean = task["clean"]
        found["clean"] = [action(item, task, bound) for item in clean] if isinstance(clean, list) else clean
    if "teardown" in task:
        found["teardown"] = [action(item, task, bound) for item in task["teardown"]]
    checks = [check(item) for item in task.get("uptodate", [])] if isinstance(task.get("uptodate", []), list) else 5
    if isinstance(checks, list):
        checks += [result_dep(other) for other in task.get("result_dep", [])]
        checks += [run_once] if task.get("run") == "once" else []
    if checks:
        found["uptodate"] = checks
    if "getargs" in task:
        split = {key: tuple(value) if isinstance(value, list) else tuple((value.split(".") + [None])[:2])
                 for key, value in task["getargs"].items()}
        found["getargs"] = split
    if "params" in task:
        found["params"] = [param(value) if isinstance(value, dict) and "name" in value else value
                           for value in task["params"]]
    if "title" in task:
        found["title"] = lambda _: task["title"]
    known = set(plain) | {"actions", "targets", "clean", "teardown", "uptodate", "result_dep", "getargs", "params",
                          "title", "env", "cwd", "for_each", "run", "pass_env", "watch", "timeout", "interactive",
                          "expand_after", "in_out"}
    found.update({key: value for key, value in task.items() if key not in known})
    return found


def creator(name, task):
    def plain():
        return translate(name, task, {})

    def members():
        group = {key: task[key] for key in ("doc",) if key in task}
        yield {"basename": name, "name": None, **group}
        for item in task["for_each"]:
            yield {"name": item, **translate(name, task, {"item": item})}

    def expanded():
        text = subprocess.run(TASKS[task["expand_after"]]["actions"][-1], shell=True, capture_output=True, text=True)
        for member, attributes in json.loads(text.stdout).items():
            yield {"basename": name, "name": member, **translate(member, attributes, {})}

    if isinstance(task.get("for_each"), list):
        return members
    if "expand_after" in task:
        regex = "|".join(target.replace("*", ".*") for target in task.get("targets", [])) or None
        return create_after(executed=task["expand_after"], target_regex=regex)(expanded)
    return plain


for task_name, attributes in TASKS.items():
    made = creator(task_name, attributes)
    globals()["task_" + task_name] = made

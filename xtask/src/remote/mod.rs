//! Hosts: ssh, rsync, Docker contexts.

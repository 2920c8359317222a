"""Restarts under load: servers behind a load balancer in turn, and the processes of one server by SIGHUP."""

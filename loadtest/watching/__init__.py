"""What an operator looks at: the dashboards, made here, and a walk that shows that every panel and rule has data."""

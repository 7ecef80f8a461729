"""The experiment on a task: plan, jobs, choice, and what it reports."""

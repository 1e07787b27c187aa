"""The process and its machine: exit statuses, safe files, progress, signals, sessions."""

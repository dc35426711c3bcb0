"""Generated tasks that ask for one thing: to remember what matters over steps that do not."""

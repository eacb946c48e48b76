"""The commands of the command line, a file for each group. What takes time to import is imported when it is needed."""

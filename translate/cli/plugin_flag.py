"""The flag `--plugin FILE.py` of all commands: it is read before the others, as the file may add methods with flags."""

from translate.errors import UsageError

FLAG = "--plugin"


def load_plugins(arguments: list[str]) -> list[str]:
    """Load the plug-in files that the arguments name, and return the other arguments. UsageError if one cannot be used."""
    files, others = split_arguments(arguments)
    if files:
        from translate import api  # imports torch, which not every command needs

        for file in files:
            api.load_plugin(file)
    if not others:
        raise UsageError(f"{FLAG}: is for a command; give one")
    return others


def split_arguments(arguments: list[str]) -> tuple[list[str], list[str]]:
    """Return the values of the flag, and the arguments without it."""
    files: list[str] = []
    others: list[str] = []
    words = iter(arguments)
    for word in words:
        if word == "--":
            others += [word, *words]
        elif word == FLAG:
            file = next(words, "")
            if not file or file.startswith("-"):
                raise UsageError(f"{FLAG}: give it a Python file, as {FLAG} FILE.py")
            files.append(file)
        elif word.startswith(f"{FLAG}="):
            files.append(word.partition("=")[2])
        else:
            others.append(word)
    return files, others

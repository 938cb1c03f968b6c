"""Files that are made once for each set of ingredients."""
import hashlib
import os
import shutil

from .place import CACHE


def key_of(*ingredients):
    """ingredients: texts, or files that count by their content."""
    total = hashlib.sha256()
    for item in ingredients:
        content = item.read_bytes() if hasattr(item, "read_bytes") else str(item).encode()
        total.update(hashlib.sha256(content).digest())
    return total.hexdigest()[:16]


def _remove(path):
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def cached(name, ingredients, make):
    """The path that make(path) made from these ingredients, now or earlier. What was made from
    others under this name goes: at most one of it is kept."""
    CACHE.mkdir(parents=True, exist_ok=True)
    path = CACHE / f"{name}-{key_of(*ingredients)}"
    if path.exists():
        return path
    work = CACHE / f"new-{name}"
    _remove(work)
    make(work)
    os.rename(work, path)
    for other in CACHE.glob(f"{name}-*"):
        if other != path:
            _remove(other)
    return path

"""Runs a conformance script and says which methods of the SDK's room clients it used: `coverage.py SCRIPT CASE`.

Wraps every public method of the `*Client` classes of the installed SDK before the script starts, so that a method
that a newer SDK brings is in the table by itself. A method counts when a call of it came back without an exception
(a stream: when it gave an item or ended). Prints `method NAME` for each method there is, and `used NAME` for each
that counted, after what the script says itself.
"""

import functools
import inspect
import runpy
import sys
from contextlib import aclosing

from meshagent.api import room_server_client

used: set[str] = set()
methods: list[str] = []


def wrap(name: str, function):
    if inspect.isasyncgenfunction(function):

        @functools.wraps(function)
        async def stream(*args, **kwargs):
            async with aclosing(function(*args, **kwargs)) as items:
                async for item in items:
                    used.add(name)
                    yield item
            used.add(name)

        return stream
    if inspect.iscoroutinefunction(function):

        @functools.wraps(function)
        async def call(*args, **kwargs):
            result = await function(*args, **kwargs)
            used.add(name)
            return result

        return call

    @functools.wraps(function)
    def plain(*args, **kwargs):
        result = function(*args, **kwargs)
        used.add(name)
        return result

    return plain


def watch() -> None:
    for class_name, cls in vars(room_server_client).items():
        if not (inspect.isclass(cls) and class_name.endswith("Client")):
            continue
        for name, member in list(vars(cls).items()):
            if name.startswith("_"):
                continue
            full = f"{class_name}.{name}"
            if inspect.isfunction(member):
                methods.append(full)
                setattr(cls, name, wrap(full, member))
            elif isinstance(member, property) and member.fget is not None:
                methods.append(full)
                setattr(cls, name, property(wrap(full, member.fget), member.fset, member.fdel, member.__doc__))


def main() -> None:
    watch()
    script = sys.argv[1]
    sys.argv = sys.argv[1:]
    try:
        runpy.run_path(script, run_name="__main__")
    finally:
        for name in methods:
            print(f"method {name}", flush=True)
        for name in sorted(used):
            print(f"used {name}", flush=True)
        print("counted", flush=True)


if __name__ == "__main__":
    main()

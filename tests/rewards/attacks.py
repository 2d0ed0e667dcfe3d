"""Programs that try to pass without solving anything, or to do harm; and right ones that must pass.

Each attack is judged against ``f(2) == 4`` (a call) or ``2 → 4`` (standard input), and none computes that.
``{bait}`` is a file that every user may write, ``{folder}`` the folder it lies in.
"""

from __future__ import annotations

CALL = '{"entry_point": "f", "cases": [{"args": [2], "expected": 4}, {"args": [5], "expected": 25}]}'
STDIO = '[{"stdin": "2\\n", "stdout": "4\\n"}, {"stdin": "5\\n", "stdout": "25\\n"}]'

PASSING_ATTACKS = {
    "exit at import": "import sys; sys.exit(0)",
    "exit in the function": "def f(x): raise SystemExit(0)",
    "os._exit at import": "import os; os._exit(0)",
    "os._exit in the function": "import os\ndef f(x): os._exit(0)",
    "KeyboardInterrupt": "def f(x): raise KeyboardInterrupt",
    "GeneratorExit": "raise GeneratorExit",
    "an always equal object": (
        "class Any:\n    def __eq__(self, other): return True\n    def __hash__(self): return 4\n"
        "def f(x): return Any()"
    ),
    "an always equal int": "class I(int):\n    def __eq__(self, other): return True\ndef f(x): return I(7)",
    "an always equal float": (
        "class F(float):\n    def __eq__(self, other): return True\n    def __repr__(self): return '4'\n"
        "    def __float__(self): return 4.0\ndef f(x): return F(7.0)"
    ),
    "an always equal str": "class S(str):\n    def __eq__(self, other): return True\ndef f(x): return S('no')",
    "an always equal list": (
        "class L(list):\n    def __eq__(self, other): return True\n    def __iter__(self): return iter([4])\n"
        "    def __len__(self): return 1\ndef f(x): return L([7])"
    ),
    "walking frames for the expected value": (
        "import sys\ndef f(x):\n    frame = sys._getframe()\n    while frame:\n"
        "        for name, value in {**frame.f_globals, **frame.f_locals}.items():\n"
        "            if name in ('expected', 'results', 'tests', 'stdout') and not callable(value): return value\n"
        "            if isinstance(value, dict) and 'expected' in value: return value['expected']\n"
        "        frame = frame.f_back\n    return None"
    ),
    "walking gc for the expected value": (
        "import gc\ndef f(x):\n    for thing in gc.get_objects():\n"
        "        if isinstance(thing, dict):\n            for key in ('expected', 'cases'):\n"
        "                if key in thing: return thing[key]"
    ),
    "the harness's own success line": "print('{{\"exit_code\": 0, \"passed\": true}}'); print('passed'); print('ok')",
    "every open descriptor": (
        "import os\nfor fd in range(3, 256):\n    try: os.write(fd, b'{{\"exit_code\": 0, \"killed\": null}}\\n')\n"
        "    except OSError: pass"
    ),
    "two results": "import os\nos.write(3, b'4')\ndef f(x): return 4",
    "monkeypatching json": (
        "import json\njson.dumps = lambda *a, **k: 'true'\njson.loads = lambda *a, **k: 4\ndef f(x): return 3"
    ),
    "monkeypatching builtins": (
        "import builtins\nbuiltins.print = lambda *a: None\nbuiltins.isinstance = lambda *a: True\n"
        "builtins.repr = lambda a: '4'\ndef f(x): return object()"
    ),
    "modules planted for the next run": (
        "for name in ('conftest', 'sitecustomize', 'usercustomize', 'json', 'rlvr'):\n"
        "    open(name + '.py', 'w').write('import os; os._exit(0)')\nraise ValueError"
    ),
    "atexit": "import atexit, os\natexit.register(lambda: os._exit(0))\nraise ValueError",
    "__del__": "class D:\n    def __del__(self):\n        import os; os._exit(0)\nd = D()\nraise ValueError",
    "the tests through /proc": (
        "import glob\nfor path in glob.glob('/proc/*/cmdline') + glob.glob('/proc/*/environ') + glob.glob('/proc/*/fd/*'):\n"
        "    try: print(open(path, 'rb').read(10000))\n    except OSError: pass"
    ),
    "memory of the parent": (
        "import os\ntry: print(open('/proc/%d/maps' % os.getppid()).read())\nexcept OSError: pass\nprint(25)"
    ),
    "ptrace of the parent": (
        "import ctypes, os\nlibc = ctypes.CDLL(None)\nlibc.ptrace(16, os.getppid(), 0, 0)\nraise ValueError"
    ),
    "kill the parent": "import os, signal\nos.kill(os.getppid(), signal.SIGKILL)",
    "kill everything": "import os, signal\nos.kill(-1, signal.SIGKILL)",
    "fork bomb": "import os\nwhile True:\n    try: os.fork()\n    except OSError: pass",
    "a daemon in a session of its own": (
        "import os, time\nif os.fork() == 0:\n    os.setsid()\n    if os.fork() == 0:\n        time.sleep(98765)\n    os._exit(0)"
    ),
    "a daemon by exec": (
        "import subprocess\nsubprocess.Popen(['sleep', '98765'], start_new_session=True, stdout=subprocess.DEVNULL)"
    ),
    "thread bomb": (
        "import threading, time\nwhile True:\n"
        "    try: threading.Thread(target=time.sleep, args=(9,), daemon=True).start()\n    except RuntimeError: break"
    ),
    "64 GiB": "x = bytearray(64 * 2**30)\nprint(4)",
    "memory by and by": "x = []\nwhile True: x.append(bytearray(2**24))",
    "an infinite loop": "while True: pass",
    "ignoring SIGTERM and SIGXCPU": (
        "import signal\nfor number in (signal.SIGTERM, signal.SIGXCPU, signal.SIGINT): signal.signal(number, signal.SIG_IGN)\n"
        "while True: pass"
    ),
    "endless output": "while True: print('4' * 65536)",
    "endless output to stderr": "import sys\nwhile True: sys.stderr.write('4' * 65536)",
    "filling the disk": "f = open('big', 'wb')\nwhile True: f.write(b'0' * 2**20)",
    "many files": "i = 0\nwhile True:\n    open(f'f{i}', 'wb').write(b'0' * 2**20); i += 1",
    "deleting its own home and all below": (
        "import shutil, os\nshutil.rmtree(os.path.expanduser('~'), ignore_errors=True)\nshutil.rmtree('{folder}', ignore_errors=True)\n"
        "shutil.rmtree('/tmp', ignore_errors=True)"
    ),
    "a link out of the working folder": (
        "import os\ntry:\n    os.symlink('{bait}', 'link'); open('link', 'w').write('touched')\nexcept OSError: pass\n"
        "os.symlink('{folder}', 'd')\nprint('done')"
    ),
    "changing mode and times of a file": (
        "import os\nfor act in (lambda: os.chmod('{bait}', 0), lambda: os.utime('{bait}', (0, 0)), lambda: os.chmod('{folder}', 0),\n"
        "            lambda: os.remove('{bait}'), lambda: os.truncate('{bait}', 0), lambda: os.rename('{bait}', '{bait}2')):\n"
        "    try: act()\n    except OSError: pass"
    ),
    "secrets in the environment": "import os\nprint(os.environ)",
    "secrets in files": "print(open('/etc/passwd').read(), open('{bait}').read())",
    "TCP": "import socket\ns = socket.create_connection(('127.0.0.1', {port}), 2)\ns.sendall(b'hello')",
    "UDP": "import socket\ns = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\ns.sendto(b'hello', ('127.0.0.1', {port}))",
    "DNS": "import socket\nprint(socket.getaddrinfo('example.com', 80))",
    "an abstract socket": (
        "import socket\ns = socket.socket(socket.AF_UNIX)\ns.connect('\\0rlvr-attack-{port}')\ns.sendall(b'hello')"
    ),
    "patched time": (
        "import time\ntime.time = time.monotonic = time.perf_counter = time.process_time = lambda: 0\nwhile True: pass"
    ),
    "recursion": "import sys\nsys.setrecursionlimit(10**9)\ndef g(n): return g(n + 1)\ng(0)",
    "recursion of the compiler": "eval('(' * 100000 + ')' * 100000)",
    "segfault": "import ctypes\nctypes.string_at(0)",
    "abort": "import os\nos.abort()",
    "nested beyond reason": "x = []\nfor _ in range(100000): x = [x]\ndef f(n): return x",
    "NaN": "def f(x): return float('nan')",
    "a huge int": "def f(x): return 10 ** 100000",
    "bytes": "def f(x): return b'4'",
    "text for a number": "def f(x): return str(x * x)",
    "nothing at all": "",
    "a syntax error": "def f(x) return",
    "closing everything": "import os\nos.closerange(0, 256)",
    "no standard output": "import sys\nsys.stdout = None\nsys.__stdout__.close()",
}  # fmt: skip

DAEMONS = {
    "sessions of their own": (
        "import os, time\ntry:\n    if os.fork() == 0:\n        os.setsid()\n        if os.fork() == 0: time.sleep(98765)\n"
        "        os._exit(0)\nexcept OSError: pass"
    ),
    "a process group of its own": (
        "import os, time\ntry:\n    if os.fork() == 0:\n        os.setpgid(0, 0)\n        time.sleep(98765)\nexcept OSError: pass"
    ),
    "a chain that forks while it is killed": (
        "import os, time\ntry:\n    if os.fork() == 0:\n        while True:\n            time.sleep(0.001)\n"
        "            if os.fork(): os._exit(0)\nexcept OSError: pass"
    ),
    "one that lets go of its parent": (
        "import ctypes, os, time\nctypes.CDLL(None).prctl(1, 0, 0, 0, 0)\nctypes.CDLL(None).prctl(36, 1, 0, 0, 0)\n"
        "try:\n    if os.fork() == 0: time.sleep(98765)\nexcept OSError: pass"
    ),
}  # fmt: skip
"""Programs that leave their session, their process group or their parent behind."""
ENDINGS = ["", "\nos.kill(os.getppid(), 9)", "\nprint('4' * 10**7)", "\ntime.sleep(99)"]
"""Ways to end: by itself, with its jail, over the limit of the output, at the wall."""

NOT_STOPPED_BY_RLIMITS = {
    "kill everything",  # without root it reaches all processes of the user
    "kill the parent",
    "changing mode and times of a file",
    "a link out of the working folder",
    "deleting its own home and all below",
    "secrets in files",
    "TCP",
    "UDP",
    "an abstract socket",
}
"""What limits alone cannot hold, as docs/rewards.md says."""

GOOD_CALLS = {
    "plain": "def f(x): return x * x",
    "a method of Solution": "class Solution:\n    def f(self, x):\n        return x * x",
    "a main block that must not run": "def f(x): return x * x\nif __name__ == '__main__':\n    f(int(input()))",
    "printing meanwhile": "def f(x):\n    print('thinking')\n    return x * x",
    "numpy": "import numpy as np\ndef f(x): return np.int64(x) ** 2",
    "numpy floats": "import numpy as np\ndef f(x): return float(np.float64(x) ** 2)",
    "threads": (
        "import threading\ndef f(x):\n    found = []\n    t = threading.Thread(target=lambda: found.append(x * x))\n"
        "    t.start(); t.join()\n    return found[0]"
    ),
    "a thread pool": (
        "from concurrent.futures import ThreadPoolExecutor\ndef f(x):\n"
        "    with ThreadPoolExecutor(4) as pool: return sum(pool.map(lambda _: x, range(x)))"
    ),
    "deep recursion": (
        "import sys\nsys.setrecursionlimit(10**6)\ndef depth(n): return 0 if n == 0 else 1 + depth(n - 1)\n"
        "def f(x): return x * x if depth(20000) == 20000 else 0"
    ),
    "much of the library": (
        "import bisect, collections, dataclasses, decimal, fractions, functools, heapq, itertools, math, random, re, string, typing\n"
        "def f(x): return int(decimal.Decimal(x) ** 2)"
    ),
    "a file of its own": (
        "def f(x):\n    with open('scratch.txt', 'w') as file: file.write(str(x * x))\n    return int(open('scratch.txt').read())"
    ),
    "200 MB": "def f(x):\n    block = bytearray(200 * 2**20)\n    return x * x",
    "an event loop": "import asyncio\nasync def g(x): return x * x\ndef f(x): return asyncio.run(g(x))",
}  # fmt: skip

GOOD_SCRIPTS = {
    "plain": "print(int(input()) ** 2)",
    "trailing white space": "print(int(input()) ** 2, end='   \\n\\n\\n')",
    "reading all": "import sys\nprint(int(sys.stdin.read()) ** 2)",
    "reading bytes": "import sys\nsys.stdout.buffer.write(b'%d' % int(sys.stdin.buffer.readline()) ** 2)" .replace(
        "int(sys.stdin.buffer.readline()) ** 2", "(int(sys.stdin.buffer.readline()) ** 2)"
    ),
    "reading a descriptor": "import os\nprint(int(os.read(0, 100)) ** 2)",
    "leaving by sys.exit": "import sys\nprint(int(input()) ** 2)\nsys.exit()",
    "leaving by SystemExit": "print(int(input()) ** 2)\nraise SystemExit(0)",
    "leaving by exit": "print(int(input()) ** 2)\nexit()",
    "leaving by quit": "print(int(input()) ** 2)\nquit(0)",
    "a main function": "def main():\n    print(int(input()) ** 2)\nif __name__ == '__main__':\n    main()",
    "a thread that ends later": (
        "import threading, time\ndef work():\n    time.sleep(0.05); print(n ** 2)\nn = int(input())\n"
        "threading.Thread(target=work).start()"
    ),
    "an exit handler that prints": "import atexit\nn = int(input())\natexit.register(lambda: print(n ** 2))",
    "warnings on stderr": "import sys\nprint('careful', file=sys.stderr)\nprint(int(input()) ** 2)",
}  # fmt: skip

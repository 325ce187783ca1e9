"""What a process had not sent when it ends is never sent."""

import os
import signal
import socket

from penstock.runner.unsent import drop_unsent


def test_the_kernel_sends_nothing_more_for_a_process_that_has_ended():
    with socket.create_server(("127.0.0.1", 0)) as server:
        child = os.fork()
        if child == 0:
            sending = socket.create_connection(server.getsockname())
            sending.setblocking(False)
            sent = 0
            try:
                while True:  # as much as the kernel takes: nobody reads
                    sent += sending.send(bytes(1 << 20))
            except BlockingIOError:
                pass
            drop_unsent()
            os.kill(os.getpid(), signal.SIGKILL)
        with server.accept()[0] as connection:
            os.waitpid(child, 0)
            connection.settimeout(30)
            try:
                while connection.recv(1 << 20):
                    pass
                ended = "in order"
            except ConnectionResetError:
                ended = "cut off"
    assert ended == "cut off"


def test_other_descriptors_stay_as_they_are(tmp_path):
    ours, theirs = socket.socketpair()
    with ours, theirs, (tmp_path / "file").open("wb") as file:
        drop_unsent()
        ours.sendall(b"whole")
        assert theirs.recv(5) == b"whole"
        file.write(b"kept")

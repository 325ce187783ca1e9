import fcntl
import os
import threading

from patience import until

from penstock.engines.local import LocalEngine


def test_a_mark_is_there_before_the_pid_is_looked_for(tmp_path):
    """Else a runner that tells its pid in between would get neither."""
    folder = tmp_path / "job/algo-1"
    folder.mkdir(parents=True)
    os.mkfifo(folder / "pid")  # whoever opens it waits for a writer
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        stopping = threading.Thread(target=LocalEngine(tmp_path).stop, args=("job/algo-1",), daemon=True)
        stopping.start()
        until((folder / "stop").exists)
        (folder / "pid").open("w").close()
        stopping.join()

"""A process of SageMaker's own SDK: for each line it reads, one job in its local mode; it answers with the seconds.

python official_local.py IMAGE SCRIPT LOG
"""

import os
import sys
import time
import traceback


def main(image, script, log):
    answers = os.fdopen(os.dup(1), "w")
    # The SDK and what it starts print as they like; nobody reads a terminal here.
    kept = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(kept, 1)
    os.dup2(kept, 2)
    from sagemaker.local import LocalSession
    from sagemaker.processing import ScriptProcessor

    processor = ScriptProcessor(
        image_uri=image,
        command=["python3"],
        role="arn:aws:iam::000000000000:role/any",
        instance_count=1,
        instance_type="local",
        sagemaker_session=LocalSession(),
    )
    for _ in sys.stdin:
        began = time.perf_counter()
        try:
            processor.run(code=script)
            answers.write(f"{time.perf_counter() - began}\n")
        except Exception as error:  # noqa: BLE001 - whatever it is, it is the answer
            traceback.print_exc()
            answers.write(f"failed: {error!r}\n")
        answers.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])

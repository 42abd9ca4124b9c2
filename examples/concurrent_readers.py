"""Readers never wait: threads look keys up while another changes the ring."""

import threading

import numpy as np

from ringleader import HashRing

ring = HashRing([f"node-{number}" for number in range(10)])
keys = np.arange(200_000)
states = {ring.lookup(keys).tobytes()}  # every answer that a reader may ever get
grown = ring.copy()
grown.add_node("node-x")
states.add(grown.lookup(keys).tobytes())

done = threading.Event()
seen: list[int] = []


def read() -> None:
    count = 0
    while not done.is_set():
        # The ring before a change or after it, whole: never half of each.
        assert ring.lookup(keys).tobytes() in states
        count += 1
    seen.append(count)


readers = [threading.Thread(target=read) for _ in range(4)]
for reader in readers:
    reader.start()
for _ in range(100):
    ring.add_node("node-x")
    ring.remove_node("node-x")
done.set()
for reader in readers:
    reader.join()
assert len(seen) == len(readers)  # a reader that failed would be missing
print(f"4 readers looked up {sum(seen) * len(keys):,} keys while the ring changed 200 times")

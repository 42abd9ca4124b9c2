"""Five processes choose who of them leads; one is killed in the middle of it."""

import multiprocessing
import os
import pickle
import socket
import tempfile

from ringleader.consensus.paxos import Acceptor, Group, Learner, Proposer


def node(me, inbox, addresses, folder):
    group = Group(range(1, 6))
    roles = Acceptor(me, group), Proposer(me, group, seed=me), Learner(me, group)

    def do(step):
        if step.state is not None:  # a restart would begin with from_bytes() of these files
            with open(f"{folder}/{me}.{type(step.state).__name__}", "wb") as file:
                file.write(step.state.to_bytes())
                os.fsync(file.fileno())
        for message in step.saved():  # now that it is durable
            inbox.sendto(pickle.dumps(message), addresses[message.to])

    inbox.settimeout(0.01)
    do(roles[1].propose(b"node %d leads" % me))
    do(roles[2].ask())  # what happened before this process began
    while True:
        try:
            message = pickle.loads(inbox.recv(4096))
            for role in roles:
                do(role.step(message))
        except TimeoutError:
            do(roles[1].tick())
            do(roles[2].tick())
            if roles[2].chosen is not None:
                inbox.sendto(pickle.dumps((me, roles[2].chosen)), addresses[0])


if __name__ == "__main__":
    sockets = [socket.socket(type=socket.SOCK_DGRAM) for _ in range(6)]  # the first is the parent's
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    addresses, chosen = [each.getsockname() for each in sockets], {}
    spawn = multiprocessing.get_context("spawn").Process
    with tempfile.TemporaryDirectory() as folder:
        nodes = [
            spawn(target=node, args=(me, sockets[me], addresses, folder)) for me in range(1, 6)
        ]
        for process in nodes:
            process.start()
        while not {1, 3, 4, 5} <= set(chosen):
            if any(name.startswith("2.") for name in os.listdir(folder)):
                nodes[1].kill()
            me, value = pickle.loads(sockets[0].recv(4096))
            chosen[me] = value.decode()
        for process in nodes:
            process.kill()
            process.join()
    for each in sockets:
        each.close()
    print(f"node 2 was killed; learnt: {chosen}")

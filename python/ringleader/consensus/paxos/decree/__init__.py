"""Single-decree Paxos, without input or output: some processes choose one value.

Source: Lamport, "Paxos Made Simple" (2001), cited as §n; quorums as in Howard, Malkhi and
Spiegelman, "Flexible Paxos" (2016).

What it guarantees (§2.1):

    Validity    only a value that has been proposed may be chosen
    Agreement   only a single value is chosen
    Learning    a process never learns that a value has been chosen unless it actually has been

How it works (§2.2, §2.3).  Three roles, which a process may have all at once:

    proposer    DecreePrepare(b)        phase 1: promise ballot b, tell what you accepted
    acceptor    DecreePromise(b, ...)       durable before it is sent
    proposer    DecreeAccept(b, v)      phase 2: v is what was accepted in the highest ballot that
                                        an election quorum tells of, or else its own value
    acceptor    DecreeAccepted(b, v)        unless it has promised more; durable before it is sent
    learner                             v is chosen once a replication quorum accepted it in b
    acceptor    DecreeNack(b, promised) refuses either, because of a higher promise
    learner     DecreeAsk               what have you accepted?

Each role takes a message by `step()`, gives what is to be made durable and then sent, and leaves
the messages of other roles alone: a process gives what it receives to all that it has, messages
from itself among them.  One group decides once; who decides often has a group for each decision,
and says beside each message which it is about, or takes Multi-Paxos.

    step = acceptor.step(message)
    if step.state is not None:
        disk.write(step.state.to_bytes())       # and wait for it
    for answer in step.saved():                 # "it is durable": only now are there messages
        send(answer)

No clock, no randomness (an injected seed), no thread, no socket.  `messages`, `state` and
`roles` are plain Python; their .pxd files give them C types when the package is built, and
RINGLEADER_PURE=1 runs them as they stand.
"""

from ringleader.consensus.paxos.decree import messages, roles, state
from ringleader.consensus.paxos.decree.messages import (
    DecreeAccept,
    DecreeAccepted,
    DecreeAsk,
    DecreeMessage,
    DecreeNack,
    DecreePrepare,
    DecreePromise,
    DecreeProposal,
)
from ringleader.consensus.paxos.decree.roles import (
    PHASES,
    ROUND_JUMP_MAX,
    TICKS_MAX,
    Acceptor,
    Group,
    Learner,
    Proposer,
)
from ringleader.consensus.paxos.decree.state import AcceptorState, ProposerState, Step
from ringleader.kernels import require_compiled

__all__ = [
    "PHASES",
    "ROUND_JUMP_MAX",
    "TICKS_MAX",
    "Acceptor",
    "AcceptorState",
    "DecreeAccept",
    "DecreeAccepted",
    "DecreeAsk",
    "DecreeMessage",
    "DecreeNack",
    "DecreePrepare",
    "DecreePromise",
    "DecreeProposal",
    "Group",
    "Learner",
    "Proposer",
    "ProposerState",
    "Step",
]

require_compiled(messages, state, roles)

"""The replicated log, the quorums, and the consensus cores that stand on them."""

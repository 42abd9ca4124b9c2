class Majority:
    def __init__(self, voters): self.voters = tuple(voters)
    def committed(self, m):
        v = sorted((m.get(x, 0) for x in self.voters), reverse=True)
        return v[len(v)//2]
    def vote(self, b):
        y = sum(1 for x in self.voters if b.get(x) is True); n = sum(1 for x in self.voters if b.get(x) is False)
        q = len(self.voters)//2+1
        return "won" if y>=q else "lost" if len(self.voters)-n<q else "pending"
    def has_quorum(self, ids): return len(set(ids)&set(self.voters))>=len(self.voters)//2+1
class Joint:
    def __init__(self, a, b): self.a, self.b = a, b
    def committed(self, m): return min(self.a.committed(m), self.b.committed(m))
    def vote(self, m):
        o={self.a.vote(m), self.b.vote(m)}
        return "lost" if "lost" in o else "pending" if "pending" in o else "won"
    def has_quorum(self, i): return self.a.has_quorum(i) and self.b.has_quorum(i)

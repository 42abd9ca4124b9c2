// etcd's raft, a whole group in one process: proposals until every node has applied them.
//
// A lap is asked for by a line "nodes batch count" on standard input, and answered by a line
// "nanoseconds entries checksum": the checksum is the CRC32C of all payloads in their order, the
// same on every node, or the program ends.  Each lap has a group of its own, which has applied as
// many entries before as are then measured.
//
// Storage is the library's MemoryStorage, and a message arrives as soon as it is sent.
package main

import (
	"fmt"
	"hash/crc32"
	"io"
	"log"
	"os"
	"time"

	"go.etcd.io/etcd/raft"
	"go.etcd.io/etcd/raft/raftpb"
)

const payloadBytes = 64

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

type node struct {
	raw     *raft.RawNode
	storage *raft.MemoryStorage
	applied int
	crc     uint32
}

func must(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

func require(condition bool, what string) {
	if !condition {
		log.Fatal("peer_etcd.go: not so: ", what)
	}
}

func group(count int) []*node {
	voters := make([]uint64, count)
	for i := range voters {
		voters[i] = uint64(i + 1)
	}
	nodes := make([]*node, count)
	for i := range nodes {
		storage := raft.NewMemoryStorage()
		must(storage.ApplySnapshot(raftpb.Snapshot{Metadata: raftpb.SnapshotMetadata{
			Index: 1, Term: 1, ConfState: raftpb.ConfState{Voters: voters}}}))
		raw, err := raft.NewRawNode(&raft.Config{
			ID:              voters[i],
			ElectionTick:    10,
			HeartbeatTick:   1,
			Storage:         storage,
			Applied:         1,
			MaxSizePerMsg:   1 << 20,
			MaxInflightMsgs: 256,
		})
		must(err)
		nodes[i] = &node{raw: raw, storage: storage}
	}
	must(nodes[0].raw.Campaign())
	work(nodes)
	require(nodes[0].raw.BasicStatus().RaftState == raft.StateLeader, "the first node leads")
	return nodes
}

func work(nodes []*node) {
	for busy := true; busy; {
		busy = false
		for _, n := range nodes {
			for n.raw.HasReady() {
				busy = true
				ready := n.raw.Ready()
				must(n.storage.Append(ready.Entries))
				if !raft.IsEmptyHardState(ready.HardState) {
					must(n.storage.SetHardState(ready.HardState))
				}
				for _, message := range ready.Messages {
					must(nodes[message.To-1].raw.Step(message))
				}
				for i := range ready.CommittedEntries {
					if data := ready.CommittedEntries[i].Data; len(data) != 0 {
						n.crc = crc32.Update(n.crc, castagnoli, data)
						n.applied++
					}
				}
				n.raw.Advance(ready)
			}
		}
	}
}

func propose(nodes []*node, payloads [][]byte, batch int) {
	leader := nodes[0].raw
	for at := 0; at < len(payloads); at += batch {
		end := at + batch
		if end > len(payloads) {
			end = len(payloads)
		}
		entries := make([]raftpb.Entry, end-at)
		for i := range entries {
			entries[i].Data = payloads[at+i]
		}
		must(leader.Step(raftpb.Message{Type: raftpb.MsgProp, From: 1, Entries: entries}))
		work(nodes)
	}
}

func main() {
	raft.SetLogger(&raft.DefaultLogger{Logger: log.New(io.Discard, "", 0)})
	for {
		var count, batch, proposals int
		if _, err := fmt.Fscan(os.Stdin, &count, &batch, &proposals); err != nil {
			return
		}
		payloads := make([][]byte, proposals)
		for i := range payloads {
			payloads[i] = make([]byte, payloadBytes)
			for j := range payloads[i] {
				payloads[i][j] = byte(uint64(i) >> (8 * (j % 8)))
			}
		}
		nodes := group(count)
		propose(nodes, payloads, batch)
		for _, n := range nodes {
			require(n.applied == proposals, "every node has applied everything")
			n.applied, n.crc = 0, 0
		}
		began := time.Now()
		propose(nodes, payloads, batch)
		took := time.Since(began)
		for _, n := range nodes {
			require(n.applied == proposals && n.crc == nodes[0].crc, "all nodes are equal")
		}
		fmt.Println(took.Nanoseconds(), nodes[0].applied, nodes[0].crc)
	}
}

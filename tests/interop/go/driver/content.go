package main

import (
	"crypto/sha256"
	"errors"
	"hash"
	"io"
)

// pattern generates bytes that depend on size and seed; tests in other languages compute the same.
type pattern struct {
	seed   byte
	offset int64
	size   int64
}

func (pattern *pattern) Read(buffer []byte) (int, error) {
	if pattern.offset == pattern.size {
		return 0, io.EOF
	}
	if left := pattern.size - pattern.offset; int64(len(buffer)) > left {
		buffer = buffer[:left]
	}
	for index := range buffer {
		offset := pattern.offset + int64(index)
		buffer[index] = byte(offset*131+(offset>>8)*17) + pattern.seed
	}
	pattern.offset += int64(len(buffer))
	return len(buffer), nil
}

// defaultWrite is the buffer size of io.Copy.
const defaultWrite = 32 << 10

// write writes the contents of a command in chunks.
func (cmd *command) write(to io.Writer) error {
	size := cmd.Write
	if size <= 0 {
		size = defaultWrite
	}
	if cmd.Data != nil {
		for rest := cmd.Data; len(rest) > 0; {
			now := rest[:min(size, len(rest))]
			if _, err := to.Write(now); err != nil {
				return err
			}
			rest = rest[len(now):]
		}
		return nil
	}
	content := &pattern{seed: cmd.Seed, size: cmd.Size}
	for buffer := make([]byte, size); ; {
		count, err := content.Read(buffer)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if _, err := to.Write(buffer[:count]); err != nil {
			return err
		}
	}
}

// received hashes, and optionally keeps, downloaded bytes.
type received struct {
	hash   hash.Hash
	length int64
	keep   bool
	bytes  []byte
}

func newReceived(keep bool) *received {
	return &received{hash: sha256.New(), keep: keep}
}

func (received *received) Write(bytes []byte) (int, error) {
	received.length += int64(len(bytes))
	if received.keep {
		received.bytes = append(received.bytes, bytes...)
	}
	return received.hash.Write(bytes)
}

// Bench transfers one object with the reference client and reports the cost as one JSON line.
//
// Each measurement is a separate process, because CPU time and peak memory are per process. The
// content is a counted pattern, cheap to generate and to check, so that the figures are those of
// the client.
package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"storj.io/uplink"
)

const mib = 1 << 20

func main() {
	if err := run(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

type job struct {
	project *uplink.Project
	bucket  string
	key     string
	mib     int64
}

// report is the cost of a job. PeakKiB is that of the process, IdleKiB its memory before the job.
type report struct {
	Case       string  `json:"case"`
	Bytes      int64   `json:"bytes"`
	Seconds    float64 `json:"seconds"`
	CPUSeconds float64 `json:"cpu_seconds"`
	FirstByte  float64 `json:"first_byte_seconds,omitempty"`
	IdleKiB    int64   `json:"idle_kib"`
	PeakKiB    int64   `json:"peak_kib"`
}

func run(ctx context.Context) error {
	grant := flag.String("access", os.Getenv("UPLINK_ACCESS"), "access grant; else that in UPLINK_ACCESS")
	bucket := flag.String("bucket", "bench", "bucket; an upload creates it")
	key := flag.String("key", "key", "object key")
	size := flag.Int64("mib", 64, "size of the object in MiB")
	flag.Parse()
	access, err := uplink.ParseAccess(*grant)
	if err != nil {
		return err
	}
	project, err := uplink.OpenProject(ctx, access)
	if err != nil {
		return err
	}
	defer func() { _ = project.Close() }()
	jobs := map[string]func(job, context.Context) (time.Duration, error){
		"upload": job.upload, "download": job.download,
	}
	what := flag.Arg(0)
	move, known := jobs[what]
	if !known {
		return errors.New("missing operation: upload or download")
	}
	if what == "upload" {
		// Also connects, which is not measured.
		if _, err := project.EnsureBucket(ctx, *bucket); err != nil {
			return err
		}
	}
	measured, err := measure(func() (time.Duration, error) {
		return move(job{project, *bucket, *key, *size}, ctx)
	})
	if err != nil {
		return err
	}
	measured.Case, measured.Bytes = what, *size*mib
	return json.NewEncoder(os.Stdout).Encode(measured)
}

func measure(move func() (time.Duration, error)) (report, error) {
	idle, err := resident("VmRSS:")
	if err != nil {
		return report{}, err
	}
	cpu, begun := cpuTime(), time.Now()
	first, err := move()
	if err != nil {
		return report{}, err
	}
	seconds, spent := time.Since(begun).Seconds(), cpuTime()-cpu
	peak, err := resident("VmHWM:")
	return report{
		Seconds:    seconds,
		CPUSeconds: spent.Seconds(),
		FirstByte:  first.Seconds(),
		IdleKiB:    idle,
		PeakKiB:    peak,
	}, err
}

func (job job) upload(ctx context.Context) (time.Duration, error) {
	upload, err := job.project.UploadObject(ctx, job.bucket, job.key, nil)
	if err != nil {
		return 0, err
	}
	content := pattern()
	for number := range job.mib {
		binary.BigEndian.PutUint64(content, uint64(number))
		if _, err := upload.Write(content); err != nil {
			return 0, errors.Join(err, upload.Abort())
		}
	}
	return 0, upload.Commit()
}

func (job job) download(ctx context.Context) (first time.Duration, err error) {
	begun := time.Now()
	download, err := job.project.DownloadObject(ctx, job.bucket, job.key, nil)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, download.Close()) }()
	var one [1]byte
	if _, err := io.ReadFull(download, one[:]); err != nil {
		return 0, err
	}
	first = time.Since(begun)
	rest := io.MultiReader(bytes.NewReader(one[:]), download)
	expected, got := pattern(), make([]byte, mib)
	for number := range job.mib {
		if _, err := io.ReadFull(rest, got); err != nil {
			return 0, err
		}
		binary.BigEndian.PutUint64(expected, uint64(number))
		if !bytes.Equal(expected, got) {
			return 0, fmt.Errorf("MiB %d differs", number)
		}
	}
	if extra, _ := rest.Read(one[:]); extra > 0 {
		return 0, fmt.Errorf("the object is longer than %d MiB", job.mib)
	}
	return first, nil
}

// pattern returns a MiB without repetitions; its first bytes hold its number.
func pattern() []byte {
	content := make([]byte, mib)
	for index := range content {
		content[index] = byte(index*131 + (index>>8)*17 + (index>>16)*7)
	}
	return content
}

// cpuTime returns user and system time of the process so far.
func cpuTime() time.Duration {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		// Cannot fail for the own process; zero would show up as free work.
		return 0
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

// resident returns a memory figure of the process in KiB.
func resident(name string) (int64, error) {
	file, err := os.Open("/proc/self/status")
	if err != nil {
		return 0, err
	}
	defer func() { _ = file.Close() }()
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		if value, found := strings.CutPrefix(lines.Text(), name); found {
			return strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(value), " kB"), 10, 64)
		}
	}
	return 0, errors.Join(lines.Err(), fmt.Errorf("no line %s in /proc/self/status", name))
}

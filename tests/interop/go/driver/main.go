// Driver runs the reference client on behalf of a test written in another language.
//
// It reads one JSON command per line and writes one JSON response per line: the client's result, or
// {"error", "kind", "code"}. Keys and contents are byte slices, which JSON carries as Base64, so
// that names that are not UTF-8 survive. Commands run sequentially; tests start several drivers for
// concurrency.
package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
)

// maxCommand bounds a line, which must fit contents given as bytes.
const maxCommand = 64 << 20

func main() {
	if err := serve(context.Background(), os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "driver:", err)
		os.Exit(1)
	}
}

// serve responds to commands until the input ends.
func serve(ctx context.Context, input io.Reader, output io.Writer) error {
	session := newSession()
	defer session.close()
	lines := bufio.NewScanner(input)
	lines.Buffer(nil, maxCommand)
	responses := json.NewEncoder(output)
	for lines.Scan() {
		if err := responses.Encode(respond(ctx, session, lines.Bytes())); err != nil {
			return err
		}
	}
	return lines.Err()
}

// respond runs one command.
func respond(ctx context.Context, session *session, line []byte) any {
	var cmd command
	decoder := json.NewDecoder(bytes.NewReader(line))
	// A misspelt field would silently test something else.
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&cmd); err != nil {
		return failure{Error: err.Error(), Kind: kindCommand}
	}
	operation, known := operations[cmd.Op]
	if !known {
		return failure{Error: fmt.Sprintf("unknown operation %q", cmd.Op), Kind: kindCommand}
	}
	result, err := operation(ctx, session, &cmd)
	if err != nil {
		return describe(err)
	}
	return result
}

// operation runs a command. Its result is written as JSON.
type operation func(context.Context, *session, *command) (any, error)

var operations = map[string]operation{
	"request_access": requestAccess,
	"parse_access":   parseAccess,
	"share":          share,
	"override_key":   overrideKey,
	"revoke":         revoke,

	"create_bucket": createBucket,
	"ensure_bucket": ensureBucket,
	"stat_bucket":   statBucket,
	"delete_bucket": deleteBucket,
	"list_buckets":  listBuckets,

	"upload":          upload,
	"download":        download,
	"stat":            stat,
	"delete":          deleteObject,
	"update_metadata": updateMetadata,
	"copy":            copyObject,
	"move":            moveObject,
	"list":            listObjects,

	"begin_upload":  beginUpload,
	"upload_part":   uploadPart,
	"commit_upload": commitUpload,
	"abort_upload":  abortUpload,
	"list_uploads":  listUploads,
	"list_parts":    listParts,

	"node": node,
}

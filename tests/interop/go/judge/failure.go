package main

import (
	"errors"

	"storj.io/common/rpc/rpcstatus"
	"storj.io/uplink"
)

// failure is the answer to a command that did not succeed.
type failure struct {
	Error string `json:"error"`
	// Kind names the exported error of the client that this one is, or is empty.
	Kind string `json:"kind"`
	// Code is the status code of the satellite as far as the client lets it be seen.
	Code uint64 `json:"code"`
}

// kindCommand marks a command that the judge itself does not understand.
const kindCommand = "Command"

var kinds = []struct {
	name string
	err  error
}{
	{"ErrBandwidthLimitExceeded", uplink.ErrBandwidthLimitExceeded},
	{"ErrBucketAlreadyExists", uplink.ErrBucketAlreadyExists},
	{"ErrBucketNameInvalid", uplink.ErrBucketNameInvalid},
	{"ErrBucketNotEmpty", uplink.ErrBucketNotEmpty},
	{"ErrBucketNotFound", uplink.ErrBucketNotFound},
	{"ErrObjectKeyInvalid", uplink.ErrObjectKeyInvalid},
	{"ErrObjectNotFound", uplink.ErrObjectNotFound},
	{"ErrPermissionDenied", uplink.ErrPermissionDenied},
	{"ErrSegmentsLimitExceeded", uplink.ErrSegmentsLimitExceeded},
	{"ErrStorageLimitExceeded", uplink.ErrStorageLimitExceeded},
	{"ErrTooManyRequests", uplink.ErrTooManyRequests},
	{"ErrUploadDone", uplink.ErrUploadDone},
	{"ErrUploadIDInvalid", uplink.ErrUploadIDInvalid},
}

func describe(err error) failure {
	described := failure{Error: err.Error(), Code: uint64(rpcstatus.Code(err))}
	for _, kind := range kinds {
		if errors.Is(err, kind.err) {
			described.Kind = kind.name
			break
		}
	}
	return described
}

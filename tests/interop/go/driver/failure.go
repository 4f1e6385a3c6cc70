package main

import (
	"errors"

	"storj.io/common/rpc/rpcstatus"
	"storj.io/uplink"
	"storj.io/uplink/private/object"
)

// failure is the response to a failed command.
type failure struct {
	Error string `json:"error"`
	// Kind names the matching exported error of the client or of its internal interface, or is empty.
	Kind string `json:"kind"`
	// Code is the satellite's status code, if the client exposes it.
	Code uint64 `json:"code"`
}

// kindCommand marks an invalid command.
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
	{"ErrFailedPrecondition", object.ErrFailedPrecondition},
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

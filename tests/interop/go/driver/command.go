package main

import "time"

// command is a request. Every operation reads the fields it needs.
type command struct {
	Op string `json:"op"`
	client

	// Access grants.
	Satellite  string      `json:"satellite"`
	APIKey     string      `json:"api_key"`
	Passphrase string      `json:"passphrase"`
	Salt       []byte      `json:"salt"`
	PlainNames bool        `json:"plain_names"` // keys are stored without encryption
	Permission *permission `json:"permission"`
	Prefixes   []prefix    `json:"prefixes"`
	Revoked    string      `json:"revoked"`

	// Location.
	Bucket    string `json:"bucket"`
	Key       []byte `json:"key"`
	NewBucket string `json:"new_bucket"`
	NewKey    []byte `json:"new_key"`

	// Contents: given bytes, or size and seed of a pattern.
	Data    []byte            `json:"data"`
	Size    int64             `json:"size"`
	Seed    byte              `json:"seed"`
	Write   int               `json:"write"` // bytes of each write; 0 uses the default
	Custom  map[string]string `json:"custom"`
	ETag    []byte            `json:"etag"`
	Expires *time.Time        `json:"expires"`
	Abort   bool              `json:"abort"` // aborts after the last byte instead of committing

	// IfAbsent makes an upload, a commit or a copy fail if there is an object under the key.
	IfAbsent bool `json:"if_absent"`

	// Ranges, in the client's terms: a negative offset counts from the end.
	Offset *int64 `json:"offset"`
	Length *int64 `json:"length"`
	Bytes  bool   `json:"bytes"` // includes the bytes in the response

	// Listings.
	Prefix    []byte `json:"prefix"`
	Cursor    []byte `json:"cursor"`
	Recursive bool   `json:"recursive"`
	System    bool   `json:"system"`
	WithMeta  bool   `json:"with_custom"`

	WithObjects bool   `json:"with_objects"` // deletes the bucket with its objects
	UploadID    string `json:"upload_id"`
	Part        uint32 `json:"part"`
	AfterPart   uint32 `json:"after_part"`
}

// client holds the grant and the settings of an operation.
type client struct {
	Access      string `json:"access"`
	SegmentSize int64  `json:"segment_size"` // 0 uses the default
	Pieces      int    `json:"pieces"`       // concurrent piece uploads; 0 uses the default
	Segments    int    `json:"segments"`     // concurrent segments; 0 uses the default
	ListLimit   int    `json:"list_limit"`   // items per page; 0 uses the satellite's default
}

type permission struct {
	Download   bool       `json:"download"`
	Upload     bool       `json:"upload"`
	List       bool       `json:"list"`
	Delete     bool       `json:"delete"`
	NotBefore  *time.Time `json:"not_before"`
	NotAfter   *time.Time `json:"not_after"`
	TTLSeconds *float64   `json:"ttl_seconds"`
}

type prefix struct {
	Bucket string `json:"bucket"`
	Prefix []byte `json:"prefix"`
}

//! `Debug` of the messages that contain a secret: an API key, an access grant, or the key that signs the
//! orders of a segment. `xtask/src/codegen.rs` lists them.

use std::fmt;

use crate::r#gen::edgeauth::{EdgeRegisterAccessRequest, EdgeRegisterAccessResponse};
use crate::r#gen::metainfo::{
    BeginDeleteSegmentResponse, BeginSegmentResponse, DownloadSegmentResponse, RequestHeader,
    RevokeApiKeyRequest,
};

impl fmt::Debug for RequestHeader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestHeader")
            .field("user_agent", &self.user_agent)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for RevokeApiKeyRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RevokeApiKeyRequest").field("header", &self.header).finish_non_exhaustive()
    }
}

impl fmt::Debug for BeginSegmentResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BeginSegmentResponse")
            .field("segment_id", &self.segment_id)
            .field("addressed_limits", &self.addressed_limits)
            .field("redundancy_scheme", &self.redundancy_scheme)
            .field("cohort_requirements", &self.cohort_requirements)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for EdgeRegisterAccessRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EdgeRegisterAccessRequest")
            .field("public", &self.public)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for EdgeRegisterAccessResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EdgeRegisterAccessResponse")
            .field("endpoint", &self.endpoint)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for BeginDeleteSegmentResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BeginDeleteSegmentResponse")
            .field("segment_id", &self.segment_id)
            .field("addressed_limits", &self.addressed_limits)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for DownloadSegmentResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DownloadSegmentResponse")
            .field("segment_id", &self.segment_id)
            .field("addressed_limits", &self.addressed_limits)
            .field("encrypted_inline_data", &self.encrypted_inline_data)
            .field("segment_size", &self.segment_size)
            .field("encrypted_key_nonce", &self.encrypted_key_nonce)
            .field("encrypted_key", &self.encrypted_key)
            .field("next", &self.next)
            .field("redundancy_scheme", &self.redundancy_scheme)
            .field("position", &self.position)
            .field("plain_offset", &self.plain_offset)
            .field("plain_size", &self.plain_size)
            .finish_non_exhaustive()
    }
}

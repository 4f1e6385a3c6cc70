//! Typed calls to the satellite. What comes back is checked in [`convert`] before anyone uses it.

use std::time::Duration;

use bytes::Bytes;
use tokio::time::timeout;
use tonic::{Response, Status};
use uplink_core::id::{NodeId, SegmentPosition};
use uplink_core::macaroon::ApiKey;
use uplink_core::node_url::NodeUrl;
use uplink_core::policy::retry::Backoff;
use uplink_core::signature::VerifyingKey;
use uplink_rpc::channel::Channel;
use uplink_rpc::client;
use uplink_rpc::dial::Dialer;
use uplink_rpc::r#gen::metainfo::batch_request_item::Request;
use uplink_rpc::r#gen::metainfo::batch_response_item::Response as Reply;
use uplink_rpc::r#gen::metainfo::metainfo_client::MetainfoClient;
use uplink_rpc::r#gen::metainfo::{self, RequestHeader};
use uplink_rpc::pool::{Connection, Pool};
use uplink_rpc::status::Failure;

use crate::config::Config;
use crate::error::{Error, ErrorKind, Result};
use crate::runtime;

pub(crate) mod convert;
mod multipart;

/// Attempts of a call that changes nothing, after the first one failed in the network.
const RETRIES: u32 = 5;

/// Limits asked for when every holder of a segment is wanted.
const ALL_NODES: i32 = i32::MAX;

/// A satellite as seen by the holder of one API key. Clones share its connection.
#[derive(Clone, Debug)]
pub(crate) struct Satellite {
    pool: Pool,
    node: NodeId,
    address: String,
    header: RequestHeader,
    deadline: Duration,
}

impl Satellite {
    pub(crate) fn new(
        url: &NodeUrl,
        api_key: &ApiKey,
        config: &Config,
        dialler: Dialer,
    ) -> Result<Self> {
        let node = url.id.ok_or_else(|| {
            Error::new(ErrorKind::AccessInvalid, "the satellite address has no node id")
        })?;
        let header = RequestHeader {
            api_key: api_key.to_bytes().into(),
            user_agent: config.user_agent.clone().into(),
        };
        Ok(Self {
            pool: Pool::new(dialler),
            node,
            address: url.address.clone(),
            header,
            deadline: config.progress_deadline,
        })
    }

    /// The connections of the project, for storage nodes too.
    pub(crate) fn pool(&self) -> &Pool {
        &self.pool
    }

    /// The key with which this satellite signs order limits, known once it has answered a call.
    pub(crate) fn signing_key(&self) -> Result<VerifyingKey> {
        let peer = self.connection().identity();
        let peer = peer.ok_or_else(|| Error::protocol("the satellite has shown no certificate"))?;
        Ok(peer.leaf_key().clone())
    }

    pub(crate) async fn project_salt(&self) -> Result<Bytes> {
        let request = metainfo::ProjectInfoRequest { header: self.header() };
        let reply = self
            .read(|mut client| {
                let request = request.clone();
                async move { client.project_info(request).await }
            })
            .await?;
        Ok(reply.project_salt)
    }

    pub(crate) async fn create_bucket(&self, name: &str) -> Result<metainfo::Bucket> {
        let request = metainfo::CreateBucketRequest {
            name: Bytes::copy_from_slice(name.as_bytes()),
            header: self.header(),
            ..Default::default()
        };
        let reply = self
            .once(|mut client| {
                let request = request.clone();
                async move { client.create_bucket(request).await }
            })
            .await?;
        reply.bucket.ok_or_else(|| missing("bucket"))
    }

    pub(crate) async fn bucket(&self, name: &str) -> Result<metainfo::Bucket> {
        let name = Bytes::copy_from_slice(name.as_bytes());
        let request = metainfo::GetBucketRequest { name, header: None };
        match self.single(Request::BucketGet(request)).await? {
            Reply::BucketGet(reply) => reply.bucket.ok_or_else(|| missing("bucket")),
            _ => Err(other_reply()),
        }
    }

    pub(crate) async fn delete_bucket(&self, name: &str, with_objects: bool) -> Result<()> {
        let request = metainfo::DeleteBucketRequest {
            name: Bytes::copy_from_slice(name.as_bytes()),
            delete_all: with_objects,
            header: self.header(),
            ..Default::default()
        };
        self.once(|mut client| {
            let request = request.clone();
            async move { client.delete_bucket(request).await }
        })
        .await?;
        Ok(())
    }

    pub(crate) async fn list_buckets(
        &self,
        cursor: &[u8],
    ) -> Result<metainfo::ListBucketsResponse> {
        let request = metainfo::ListBucketsRequest {
            cursor: Bytes::copy_from_slice(cursor),
            direction: metainfo::ListDirection::After.into(),
            header: self.header(),
            ..Default::default()
        };
        self.read(|mut client| {
            let request = request.clone();
            async move { client.list_buckets(request).await }
        })
        .await
    }

    pub(crate) async fn object(&self, bucket: &str, key: Vec<u8>) -> Result<metainfo::Object> {
        let request = metainfo::GetObjectRequest {
            bucket: Bytes::copy_from_slice(bucket.as_bytes()),
            encrypted_object_key: key.into(),
            redundancy_scheme_per_segment: true,
            ..Default::default()
        };
        match self.single(Request::ObjectGet(request)).await? {
            Reply::ObjectGet(reply) => reply.object.ok_or_else(|| missing("object")),
            _ => Err(other_reply()),
        }
    }

    pub(crate) async fn delete_object(
        &self,
        bucket: &str,
        key: Vec<u8>,
    ) -> Result<Option<metainfo::Object>> {
        let request = metainfo::BeginDeleteObjectRequest {
            bucket: Bytes::copy_from_slice(bucket.as_bytes()),
            encrypted_object_key: key.into(),
            header: self.header(),
            ..Default::default()
        };
        let reply = self.once(|mut client| {
            let request = request.clone();
            async move { client.begin_delete_object(request).await }
        });
        Ok(reply.await?.object)
    }

    /// Gives up an upload whose object was begun.
    pub(crate) async fn abort_object(
        &self,
        bucket: &str,
        key: Vec<u8>,
        stream_id: Bytes,
    ) -> Result<()> {
        let request = metainfo::BeginDeleteObjectRequest {
            bucket: Bytes::copy_from_slice(bucket.as_bytes()),
            encrypted_object_key: key.into(),
            status: metainfo::object::Status::Uploading.into(),
            stream_id,
            header: self.header(),
            ..Default::default()
        };
        self.once(|mut client| {
            let request = request.clone();
            async move { client.begin_delete_object(request).await }
        })
        .await?;
        Ok(())
    }

    pub(crate) async fn list_objects(
        &self,
        request: metainfo::ListObjectsRequest,
    ) -> Result<metainfo::ListObjectsResponse> {
        match self.single(Request::ObjectList(request)).await? {
            Reply::ObjectList(reply) => Ok(reply),
            _ => Err(other_reply()),
        }
    }

    pub(crate) async fn download_object(
        &self,
        request: metainfo::DownloadObjectRequest,
    ) -> Result<metainfo::DownloadObjectResponse> {
        match self.single(Request::ObjectDownload(request)).await? {
            Reply::ObjectDownload(reply) => Ok(reply),
            _ => Err(other_reply()),
        }
    }

    pub(crate) async fn list_segments(
        &self,
        stream_id: Bytes,
        after: SegmentPosition,
    ) -> Result<metainfo::ListSegmentsResponse> {
        let request = metainfo::ListSegmentsRequest {
            stream_id,
            cursor_position: Some(position(after)?),
            header: self.header(),
            ..Default::default()
        };
        self.read(|mut client| {
            let request = request.clone();
            async move { client.list_segments(request).await }
        })
        .await
    }

    /// Asks for the order limits of one segment; of all holders when `all` is set.
    pub(crate) async fn download_segment(
        &self,
        stream_id: Bytes,
        at: SegmentPosition,
        all: bool,
    ) -> Result<metainfo::DownloadSegmentResponse> {
        let request = metainfo::DownloadSegmentRequest {
            stream_id,
            cursor_position: Some(position(at)?),
            desired_nodes: if all { ALL_NODES } else { 0 },
            ..Default::default()
        };
        match self.single(Request::SegmentDownload(request)).await? {
            Reply::SegmentDownload(reply) => Ok(reply),
            _ => Err(other_reply()),
        }
    }

    /// Exchanges the order limits of failed pieces for those of other nodes.
    pub(crate) async fn retry_pieces(
        &self,
        segment_id: Bytes,
        pieces: Vec<i32>,
    ) -> Result<metainfo::RetryBeginSegmentPiecesResponse> {
        let request = metainfo::RetryBeginSegmentPiecesRequest {
            segment_id,
            retry_piece_numbers: pieces,
            header: None,
        };
        match self.single(Request::SegmentBeginRetryPieces(request)).await? {
            Reply::SegmentBeginRetryPieces(reply) => Ok(reply),
            _ => Err(other_reply()),
        }
    }

    /// Sends several calls as one. They run in order, and the first failure fails all; never
    /// repeated, because some of them may have taken effect.
    pub(crate) async fn batch(&self, requests: Vec<Request>) -> Result<Vec<Reply>> {
        let (count, request) = (requests.len(), self.batch_request(requests));
        let reply = self
            .once(|mut client| {
                let request = request.clone();
                async move { client.batch(request).await }
            })
            .await?;
        replies(reply, count)
    }

    /// A batch of one call that changes nothing or may be repeated without harm.
    async fn single(&self, request: Request) -> Result<Reply> {
        let request = self.batch_request(vec![request]);
        let reply = self
            .read(|mut client| {
                let request = request.clone();
                async move { client.batch(request).await }
            })
            .await?;
        replies(reply, 1)?.pop().ok_or_else(other_reply)
    }

    fn batch_request(&self, requests: Vec<Request>) -> metainfo::BatchRequest {
        let item = |request| metainfo::BatchRequestItem { request: Some(request) };
        let requests = requests.into_iter().map(item).collect();
        metainfo::BatchRequest { requests, header: self.header() }
    }

    fn header(&self) -> Option<RequestHeader> {
        Some(self.header.clone())
    }

    fn connection(&self) -> Connection {
        self.pool.peer(self.node, &self.address)
    }

    /// Makes a call that changes nothing: repeated with growing pauses while the network fails.
    async fn read<T, F>(
        &self,
        call: impl Fn(MetainfoClient<Channel>) -> F + Send + Sync,
    ) -> Result<T>
    where
        T: Send,
        F: Future<Output = Result<Response<T>, Status>> + Send,
    {
        let mut backoff = Backoff::new();
        loop {
            let error = match self.once(&call).await {
                Err(error) if error.kind() == ErrorKind::Network => error,
                outcome => return outcome,
            };
            let pause = backoff.failed(runtime::jitter()?);
            if backoff.failures() > RETRIES {
                return Err(error);
            }
            tokio::time::sleep(pause).await;
        }
    }

    /// Makes a call that may change something: never repeated.
    async fn once<T, F>(&self, call: impl Fn(MetainfoClient<Channel>) -> F + Send) -> Result<T>
    where
        T: Send,
        F: Future<Output = Result<Response<T>, Status>> + Send,
    {
        let connection = self.connection();
        let answer = timeout(self.deadline, call(client::metainfo(connection.channel()))).await;
        match answer {
            Ok(Ok(response)) => Ok(response.into_inner()),
            Ok(Err(status)) => {
                let failure = Failure::from(status);
                match connection.dial_error() {
                    Some(error) => Err(error.into()),
                    None => Err(failure.into()),
                }
            }
            Err(_) => {
                let after = self.deadline.as_secs();
                let text = format!("satellite {} has not answered within {after} s", self.address);
                Err(Error::new(ErrorKind::Network, text))
            }
        }
    }
}

fn replies(reply: metainfo::BatchResponse, count: usize) -> Result<Vec<Reply>> {
    let replies: Vec<_> = reply.responses.into_iter().filter_map(|item| item.response).collect();
    if replies.len() == count { Ok(replies) } else { Err(other_reply()) }
}

pub(crate) fn position(position: SegmentPosition) -> Result<metainfo::SegmentPosition> {
    let number = |number: u32| {
        i32::try_from(number).map_err(|_| Error::protocol("segment position out of range"))
    };
    Ok(metainfo::SegmentPosition {
        part_number: number(position.part)?,
        index: number(position.index)?,
    })
}

pub(crate) fn other_reply() -> Error {
    Error::protocol("the satellite answers another call than the one made")
}

fn missing(what: &str) -> Error {
    Error::protocol(format!("the satellite's answer holds no {what}"))
}

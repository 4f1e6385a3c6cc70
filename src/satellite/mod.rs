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
use uplink_rpc::status::{self, Failure};

use crate::config::Config;
use crate::error::{Error, ErrorKind, Result};
use crate::runtime;

mod call;
pub(crate) mod convert;
mod multipart;
mod outcome;
pub(crate) mod page;

use self::call::{Call, Class};
pub(crate) use self::outcome::bucket_exists;

/// Attempts of a call that may be sent again, after the first one failed in the network.
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
            .call(Call::ProjectInfo, |mut client| {
                let request = request.clone();
                async move { client.project_info(request).await }
            })
            .await?;
        Ok(reply.project_salt)
    }

    pub(crate) async fn bucket(&self, name: &str) -> Result<metainfo::Bucket> {
        self.bucket_within(RETRIES, name).await
    }

    async fn bucket_within(&self, retries: u32, name: &str) -> Result<metainfo::Bucket> {
        let request = metainfo::GetBucketRequest {
            name: Bytes::copy_from_slice(name.as_bytes()),
            header: None,
        };
        match self.item(retries, Request::BucketGet(request)).await? {
            Reply::BucketGet(reply) => named(reply.bucket, name),
            _ => Err(other_reply()),
        }
    }

    /// Lists at most `limit` buckets after `cursor`.
    pub(crate) async fn list_buckets(
        &self,
        cursor: &[u8],
        limit: i32,
    ) -> Result<metainfo::ListBucketsResponse> {
        let request = metainfo::ListBucketsRequest {
            cursor: Bytes::copy_from_slice(cursor),
            direction: metainfo::ListDirection::After.into(),
            limit,
            header: self.header(),
        };
        self.call(Call::ListBuckets, |mut client| {
            let request = request.clone();
            async move { client.list_buckets(request).await }
        })
        .await
    }

    pub(crate) async fn object(&self, bucket: &str, key: Vec<u8>) -> Result<metainfo::Object> {
        self.object_within(RETRIES, bucket, key).await
    }

    async fn object_within(
        &self,
        retries: u32,
        bucket: &str,
        key: Vec<u8>,
    ) -> Result<metainfo::Object> {
        let request = metainfo::GetObjectRequest {
            bucket: Bytes::copy_from_slice(bucket.as_bytes()),
            encrypted_object_key: key.into(),
            redundancy_scheme_per_segment: true,
            ..Default::default()
        };
        match self.item(retries, Request::ObjectGet(request)).await? {
            Reply::ObjectGet(reply) => reply.object.ok_or_else(|| missing("object")),
            _ => Err(other_reply()),
        }
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
        self.call(Call::ListSegments, |mut client| {
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

    /// Sends several calls as one. They run in order, and the first failure fails all.
    ///
    /// Sent again after a lost reply only when that is harmless for each of them.
    pub(crate) async fn batch(&self, requests: Vec<Request>) -> Result<Vec<Reply>> {
        self.batch_within(RETRIES, requests).await
    }

    async fn batch_within(&self, retries: u32, requests: Vec<Request>) -> Result<Vec<Reply>> {
        let (count, class) = (requests.len(), call::class(&requests));
        let request = self.batch_request(requests);
        let send = |mut client: MetainfoClient<Channel>| {
            let request = request.clone();
            async move { client.batch(request).await }
        };
        replies(self.send(class, retries, send).await?, count)
    }

    /// A batch of one call.
    async fn single(&self, request: Request) -> Result<Reply> {
        self.item(RETRIES, request).await
    }

    async fn item(&self, retries: u32, request: Request) -> Result<Reply> {
        self.batch_within(retries, vec![request]).await?.pop().ok_or_else(other_reply)
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

    /// Makes a call as often as its class allows.
    async fn call<T, F>(
        &self,
        call: Call,
        send: impl Fn(MetainfoClient<Channel>) -> F + Send + Sync,
    ) -> Result<T>
    where
        T: Send,
        F: Future<Output = Result<Response<T>, Status>> + Send,
    {
        self.send(call.class(), RETRIES, send).await
    }

    /// Sends a call, and again with growing pauses while the network fails and its class allows it.
    async fn send<T, F>(
        &self,
        class: Class,
        retries: u32,
        send: impl Fn(MetainfoClient<Channel>) -> F + Send + Sync,
    ) -> Result<T>
    where
        T: Send,
        F: Future<Output = Result<Response<T>, Status>> + Send,
    {
        let mut backoff = Backoff::new();
        loop {
            let error = match self.once(&send).await {
                Err(error) if error.kind() == ErrorKind::Network => error,
                outcome => return outcome,
            };
            if class == Class::OnceOnly && error.is_lost_reply() {
                return Err(error);
            }
            let pause = backoff.failed(runtime::jitter()?);
            if backoff.failures() > retries {
                return Err(error);
            }
            tokio::time::sleep(pause).await;
        }
    }

    /// Sends a call once.
    async fn once<T, F>(&self, call: impl Fn(MetainfoClient<Channel>) -> F + Send) -> Result<T>
    where
        T: Send,
        F: Future<Output = Result<Response<T>, Status>> + Send,
    {
        let connection = self.connection();
        let answer = timeout(self.deadline, call(client::metainfo(connection.channel()))).await;
        match answer {
            Ok(Ok(response)) => Ok(response.into_inner()),
            Ok(Err(status)) => Err(match status::unsent(&status) {
                Some(error) => error.clone().into(),
                None => Failure::from(status).into(),
            }),
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

/// The bucket of an answer, which must be the one asked for.
fn named(bucket: Option<metainfo::Bucket>, name: &str) -> Result<metainfo::Bucket> {
    let bucket = bucket.ok_or_else(|| missing("bucket"))?;
    if bucket.name != name.as_bytes() {
        return Err(Error::protocol("the satellite's answer holds another bucket"));
    }
    Ok(bucket)
}

fn missing(what: &str) -> Error {
    Error::protocol(format!("the satellite's answer holds no {what}"))
}

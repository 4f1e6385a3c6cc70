//! A proxy in front of the satellite that forwards calls, loses replies and changes responses.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::mpsc;
use tonic::service::Routes;
use tonic::{Request, Response, Status};
use uplink::{Access, Project};
use uplink_core::access_grant::AccessGrant;
use uplink_core::encryption::{CipherSuite, EncryptionStore, Key};
use uplink_core::macaroon::ApiKey;
use uplink_core::node_url::NodeUrl;
use uplink_rpc::channel::Channel;
use uplink_rpc::client;
use uplink_rpc::codec::MESSAGE_LIMIT;
use uplink_rpc::dial::Dialer;
use uplink_rpc::r#gen::metainfo::metainfo_client::MetainfoClient;
use uplink_rpc::r#gen::metainfo::metainfo_server::{Metainfo, MetainfoServer};
use uplink_rpc::r#gen::metainfo::{self as messages, batch_response_item};
use uplink_rpc::pool::Pool;
use uplink_rpc::server::{Listener, Running};
use uplink_rpc::tls::Identity;

use super::world::{World, config};

/// A proxy with the satellite's own identity, on another port.
pub(crate) struct Proxy {
    identity: Identity,
    address: SocketAddr,
    service: Service,
    running: Option<Running>,
    lost: mpsc::UnboundedReceiver<()>,
    pub(crate) access: Access,
    pub(crate) project: Project,
}

/// Handling of the next call of a method, whose reply is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// The satellite executes the call.
    Executed,
    /// The call never reaches the satellite.
    Lost,
}

type Change<T> = Arc<dyn Fn(&mut T) + Send + Sync>;

#[derive(Clone)]
struct Service {
    satellite: MetainfoClient<Channel>,
    plan: Arc<Mutex<Plan>>,
    calls: Arc<AtomicUsize>,
    listings: Arc<AtomicUsize>,
    lost: mpsc::UnboundedSender<()>,
}

#[derive(Default)]
struct Plan {
    fate: Option<(&'static str, Fate)>,
    buckets: Option<Change<messages::ListBucketsResponse>>,
    item: Option<Change<batch_response_item::Response>>,
}

impl Proxy {
    pub(crate) async fn start(world: &World) -> Self {
        let identity = world.network.directory().join("satellite/identity");
        let identity = Identity::load(&identity).expect("the satellite's identity");
        let url: NodeUrl = world.network.satellite_url().parse().expect("a node URL");
        let dialer = Dialer::new(&Identity::generate().expect("an identity")).expect("a dialer");
        let channel = Pool::new(dialer).peer(identity.node_id(), &url.address).channel();
        let (sender, lost) = mpsc::unbounded_channel();
        let service = Service {
            satellite: client::metainfo(channel),
            plan: Arc::default(),
            calls: Arc::default(),
            listings: Arc::default(),
            lost: sender,
        };
        let listener = Listener::bind(([127, 0, 0, 1], 0).into()).await.expect("a free port");
        let address = listener.address();
        let store = EncryptionStore::with_default_key(Key::new([7; 32]), CipherSuite::AesGcm);
        let api_key = ApiKey::parse(&world.api_key).expect("an API key");
        let grant = AccessGrant::new(format!("{}@{address}", identity.node_id()), api_key, &store);
        let grant = grant.expect("a grant").serialize().expect("a text");
        let access = Access::parse(&grant).expect("an access");
        let project = Project::open_with(&access, &config()).expect("a project");
        let running = Some(listener.serve(&identity, service.routes()).expect("serves"));
        Self { identity, address, service, running, lost, access, project }
    }

    /// Loses the reply of the next call of a method, and all connections with it.
    pub(crate) fn lose(&self, call: &'static str, fate: Fate) {
        self.service.plan.lock().unwrap().fate = Some((call, fate));
    }

    /// Changes every page of buckets.
    pub(crate) fn change_buckets(
        &self,
        change: impl Fn(&mut messages::ListBucketsResponse) + Send + Sync + 'static,
    ) {
        self.service.listings.store(0, Ordering::SeqCst);
        self.service.plan.lock().unwrap().buckets = Some(Arc::new(change));
    }

    /// Changes every response in a batch.
    pub(crate) fn change_items(
        &self,
        change: impl Fn(&mut batch_response_item::Response) + Send + Sync + 'static,
    ) {
        self.service.listings.store(0, Ordering::SeqCst);
        self.service.plan.lock().unwrap().item = Some(Arc::new(change));
    }

    /// Returns the number of calls since this was called before.
    pub(crate) fn take_calls(&self) -> usize {
        self.service.calls.swap(0, Ordering::SeqCst)
    }

    /// Returns the number of listings and batches since the last change.
    pub(crate) fn listings(&self) -> usize {
        self.service.listings.load(Ordering::SeqCst)
    }

    /// Waits until the reply is lost, closes all connections, and listens again after `meanwhile`.
    pub(crate) async fn outage(&mut self, meanwhile: impl Future<Output = ()> + Send) {
        self.lost.recv().await.expect("a lost reply");
        drop(self.running.take());
        meanwhile.await;
        let listener = loop {
            match Listener::bind(self.address).await {
                Ok(listener) => break listener,
                Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
            }
        };
        self.running = Some(listener.serve(&self.identity, self.service.routes()).expect("serves"));
    }
}

impl Service {
    fn routes(&self) -> Routes {
        let server = MetainfoServer::new(self.clone());
        Routes::new(server.max_decoding_message_size(MESSAGE_LIMIT))
    }

    async fn forward<T, R, F>(
        &self,
        call: &'static str,
        request: Request<T>,
        send: impl FnOnce(MetainfoClient<Channel>, T) -> F + Send,
    ) -> Result<Response<R>, Status>
    where
        T: Send,
        F: Future<Output = Result<Response<R>, Status>> + Send,
    {
        self.calls.fetch_add(1, Ordering::SeqCst);
        let fate = self.plan.lock().unwrap().fate.take_if(|(name, _)| *name == call);
        let sent = send(self.satellite.clone(), request.into_inner());
        match fate {
            None => sent.await,
            Some((_, fate)) => {
                if fate == Fate::Executed {
                    sent.await?;
                }
                let _ = self.lost.send(());
                std::future::pending().await
            }
        }
    }
}

#[tonic::async_trait]
impl Metainfo for Service {
    async fn create_bucket(
        &self,
        request: Request<messages::CreateBucketRequest>,
    ) -> Result<Response<messages::CreateBucketResponse>, Status> {
        let send =
            |mut to: MetainfoClient<_>, request| async move { to.create_bucket(request).await };
        self.forward("CreateBucket", request, send).await
    }

    async fn delete_bucket(
        &self,
        request: Request<messages::DeleteBucketRequest>,
    ) -> Result<Response<messages::DeleteBucketResponse>, Status> {
        let send =
            |mut to: MetainfoClient<_>, request| async move { to.delete_bucket(request).await };
        self.forward("DeleteBucket", request, send).await
    }

    async fn begin_delete_object(
        &self,
        request: Request<messages::BeginDeleteObjectRequest>,
    ) -> Result<Response<messages::BeginDeleteObjectResponse>, Status> {
        let send = |mut to: MetainfoClient<_>, request| async move {
            to.begin_delete_object(request).await
        };
        self.forward("BeginDeleteObject", request, send).await
    }

    async fn begin_object(
        &self,
        request: Request<messages::BeginObjectRequest>,
    ) -> Result<Response<messages::BeginObjectResponse>, Status> {
        let send =
            |mut to: MetainfoClient<_>, request| async move { to.begin_object(request).await };
        self.forward("BeginObject", request, send).await
    }

    async fn get_pending_object_metadata(
        &self,
        request: Request<messages::GetPendingObjectMetadataRequest>,
    ) -> Result<Response<messages::GetPendingObjectMetadataResponse>, Status> {
        let send = |mut to: MetainfoClient<_>, request| async move {
            to.get_pending_object_metadata(request).await
        };
        self.forward("GetPendingObjectMetadata", request, send).await
    }

    async fn list_segments(
        &self,
        request: Request<messages::ListSegmentsRequest>,
    ) -> Result<Response<messages::ListSegmentsResponse>, Status> {
        let send =
            |mut to: MetainfoClient<_>, request| async move { to.list_segments(request).await };
        self.forward("ListSegments", request, send).await
    }

    async fn begin_copy_object(
        &self,
        request: Request<messages::BeginCopyObjectRequest>,
    ) -> Result<Response<messages::BeginCopyObjectResponse>, Status> {
        let send =
            |mut to: MetainfoClient<_>, request| async move { to.begin_copy_object(request).await };
        self.forward("BeginCopyObject", request, send).await
    }

    async fn begin_move_object(
        &self,
        request: Request<messages::BeginMoveObjectRequest>,
    ) -> Result<Response<messages::BeginMoveObjectResponse>, Status> {
        let send =
            |mut to: MetainfoClient<_>, request| async move { to.begin_move_object(request).await };
        self.forward("BeginMoveObject", request, send).await
    }

    async fn finish_copy_object(
        &self,
        request: Request<messages::FinishCopyObjectRequest>,
    ) -> Result<Response<messages::FinishCopyObjectResponse>, Status> {
        let send = |mut to: MetainfoClient<_>, request| async move {
            to.finish_copy_object(request).await
        };
        self.forward("FinishCopyObject", request, send).await
    }

    async fn finish_move_object(
        &self,
        request: Request<messages::FinishMoveObjectRequest>,
    ) -> Result<Response<messages::FinishMoveObjectResponse>, Status> {
        let send = |mut to: MetainfoClient<_>, request| async move {
            to.finish_move_object(request).await
        };
        self.forward("FinishMoveObject", request, send).await
    }

    async fn update_object_metadata(
        &self,
        request: Request<messages::UpdateObjectMetadataRequest>,
    ) -> Result<Response<messages::UpdateObjectMetadataResponse>, Status> {
        let send = |mut to: MetainfoClient<_>, request| async move {
            to.update_object_metadata(request).await
        };
        self.forward("UpdateObjectMetadata", request, send).await
    }

    async fn list_buckets(
        &self,
        request: Request<messages::ListBucketsRequest>,
    ) -> Result<Response<messages::ListBucketsResponse>, Status> {
        let send =
            |mut to: MetainfoClient<_>, request| async move { to.list_buckets(request).await };
        let mut response = self.forward("ListBuckets", request, send).await?;
        self.listings.fetch_add(1, Ordering::SeqCst);
        let change = self.plan.lock().unwrap().buckets.clone();
        if let Some(change) = change {
            change(response.get_mut());
        }
        Ok(response)
    }

    async fn batch(
        &self,
        request: Request<messages::BatchRequest>,
    ) -> Result<Response<messages::BatchResponse>, Status> {
        let send = |mut to: MetainfoClient<_>, request| async move { to.batch(request).await };
        let mut response = self.forward("Batch", request, send).await?;
        self.listings.fetch_add(1, Ordering::SeqCst);
        let change = self.plan.lock().unwrap().item.clone();
        for item in &mut response.get_mut().responses {
            if let (Some(change), Some(item)) = (&change, &mut item.response) {
                change(item);
            }
        }
        Ok(response)
    }
}

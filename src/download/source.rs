//! An object at its satellite: everything needed to read on anywhere in it.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::{Mutex, mpsc};
use uplink_core::encryption::content::append_padding;
use uplink_core::encryption::{EncryptionParameters, Key};
use uplink_core::id::SegmentPosition;
use uplink_core::layout::{self, Extent};
use uplink_rpc::r#gen::metainfo;
use uplink_rpc::status::Code;

use super::options::DownloadOptions;
use super::pass::Pass;
use crate::error::{Error, ErrorKind, Result};
use crate::layout::{
    Claimed, ExpectedSegment, Layout, ListedSegment, PageState, Rules, Start, WholeList,
    unauthenticated,
};
use crate::object::Object;
use crate::project::{Location, Project};
use crate::satellite::convert::{self, ObjectKeys, SegmentDownload};
use crate::segment::download::download;

/// An object that is being read. Clones share what is known of its segments.
#[derive(Clone, Debug)]
pub(super) struct Source {
    pub(super) project: Project,
    pub(super) parameters: EncryptionParameters,
    location: Location,
    stream_id: Bytes,
    /// One pass at a time holds it, from its beginning to its end.
    layout: Arc<Mutex<Layout>>,
}

/// An object that was opened, with its first segment if that holds bytes of the range.
pub(super) struct Opened {
    pub(super) source: Source,
    pub(super) object: Object,
    pub(super) range: Range<u64>,
    pub(super) first: Option<SegmentDownload>,
}

/// Opens an object: all that its layout needs is known and checked afterwards, and its first segment
/// is there.
pub(super) async fn open(
    project: &Project,
    location: &Location,
    options: DownloadOptions,
) -> Result<Opened> {
    let request = metainfo::DownloadObjectRequest {
        bucket: location.bucket_bytes(),
        encrypted_object_key: location.key_bytes(),
        range: options.wire()?,
        ..Default::default()
    };
    let reply = project.satellite().download_object(request).await.map_err(beyond)?;
    let wire = reply.object.ok_or_else(|| Error::protocol("a download without its object"))?;
    let rules = Rules::from(project.config());
    let parameters = convert::parameters(wire.encryption_parameters.as_ref())?;
    let (object, claimed) = location.describe(&wire, rules)?;
    claimed.check_required(rules)?;
    claimed.check_block_size(parameters.block_size)?;
    let range = options.resolve(object.size)?;
    let stream = Stream { project, location, parameters, stream_id: wire.stream_id };
    let list = reply.segment_list.unwrap_or_default();
    let listed = convert::listed_segments(&list.items, &stream.keys())?;
    let page = PageState { more: list.more, covers: options.is_whole() && !list.more };
    let mut layout = stream.layout(claimed, &listed, page, rules).await?;
    let first = if range.is_empty() {
        None
    } else {
        let offered = reply.segment_download.into_iter().next();
        Some(stream.first(&mut layout, range.start, offered).await?)
    };
    let source = Source {
        project: project.clone(),
        parameters,
        location: location.clone(),
        stream_id: stream.stream_id,
        layout: Arc::new(Mutex::new(layout)),
    };
    Ok(Opened { source, object, range, first })
}

/// Describes an object. R7: one without an envelope must not have segments of this client, which is
/// looked at where the access grant allows it.
pub(crate) async fn stat(
    project: &Project,
    location: &Location,
    wire: &metainfo::Object,
) -> Result<Object> {
    let rules = Rules::from(project.config());
    let (object, claimed) = location.describe(wire, rules)?;
    claimed.check_required(rules)?;
    if !claimed.is_bare() {
        return Ok(object);
    }
    let parameters = convert::parameters(wire.encryption_parameters.as_ref())?;
    let stream = Stream { project, location, parameters, stream_id: wire.stream_id.clone() };
    match stream.page(None).await {
        Ok((listed, more)) => {
            let page = PageState { more, covers: !more };
            Layout::start(claimed, &listed, page, rules)?;
            Ok(object)
        }
        Err(error) if error.kind() == ErrorKind::PermissionDenied => Ok(object),
        Err(error) => Err(error),
    }
}

fn beyond(error: Error) -> Error {
    match error.failure() {
        Some(failure)
            if failure.code == Code::INVALID_ARGUMENT && failure.message.contains("range") =>
        {
            let text = "range starts beyond the end of the object";
            Error::new(ErrorKind::RangeInvalid, text).with_source(error)
        }
        _ => error,
    }
}

impl Source {
    /// Reads `range` in the background; `first` is its first segment if that was fetched already.
    pub(super) fn read(&self, range: Range<u64>, first: Option<SegmentDownload>) -> Pass {
        Pass::spawn(self.clone(), Arc::clone(&self.layout), range, first)
    }

    /// The object's segments as the satellite has them.
    pub(super) fn stream(&self) -> Stream<'_> {
        Stream {
            project: &self.project,
            location: &self.location,
            parameters: self.parameters,
            stream_id: self.stream_id.clone(),
        }
    }
}

/// One version of an object at its satellite.
pub(super) struct Stream<'a> {
    project: &'a Project,
    location: &'a Location,
    parameters: EncryptionParameters,
    stream_id: Bytes,
}

impl Stream<'_> {
    fn keys(&self) -> ObjectKeys<'_> {
        ObjectKeys { parameters: self.parameters, content_key: &self.location.content_key }
    }

    /// Learns as much of the object's segments as its rule demands before a byte is handed out.
    async fn layout(
        &self,
        claimed: Claimed,
        listed: &[ListedSegment],
        page: PageState,
        rules: Rules,
    ) -> Result<Layout> {
        match Layout::start(claimed, listed, page, rules)? {
            Start::Ready(layout) => Ok(layout),
            Start::Whole(list) if page.covers => self.whole(list, Some(listed)).await,
            Start::Whole(list) => self.whole(list, None).await,
            Start::AnySegment(claimed) => {
                let (listed, more) = self.page(None).await?;
                let page = PageState { more, covers: !more };
                match Layout::start(claimed, &listed, page, rules)? {
                    Start::Whole(list) => self.whole(list, None).await,
                    Start::Ready(layout) => Ok(layout),
                    Start::AnySegment(_) => Err(unauthenticated("the satellite lists no segment")),
                }
            }
        }
    }

    /// Reads the whole list, or takes it from what was listed.
    async fn whole(&self, mut list: WholeList, listed: Option<&[ListedSegment]>) -> Result<Layout> {
        match listed {
            Some(listed) => {
                list.extend(listed)?;
            }
            None => loop {
                let (page, more) = self.page(list.last()).await?;
                if !list.extend(&page)? || !more {
                    break;
                }
            },
        }
        let (mut layout, last) = list.finish()?;
        if let Some(last) = last {
            Box::pin(self.check_end(&mut layout, &last)).await?;
        }
        Ok(layout)
    }

    /// One page of the segment list.
    pub(super) async fn page(
        &self,
        last: Option<&ListedSegment>,
    ) -> Result<(Vec<ListedSegment>, bool)> {
        let after = last.map_or(SegmentPosition { part: 0, index: 0 }, |last| last.position);
        let satellite = self.project.satellite();
        let reply = satellite.list_segments(self.stream_id.clone(), after).await;
        let reply = reply.map_err(changed)?;
        Ok((convert::listed_segments(&reply.items, &self.keys())?, reply.more))
    }

    /// The segment that holds the byte at `start`, which may have come with the object.
    async fn first(
        &self,
        layout: &mut Layout,
        start: u64,
        offered: Option<metainfo::DownloadSegmentResponse>,
    ) -> Result<SegmentDownload> {
        let expected = self.expect(layout, start).await?;
        match offered {
            Some(offered) => self.accept(layout, offered, &expected),
            None => self.segment(layout, &expected).await,
        }
    }

    /// What the segment that holds the byte at `offset` must be.
    pub(super) async fn expect(&self, layout: &mut Layout, offset: u64) -> Result<ExpectedSegment> {
        loop {
            if let Some(expected) = layout.at(offset)? {
                return Ok(expected);
            }
            let (page, more) = self.page(layout.list_after()).await?;
            layout.extend(&page, more)?;
        }
    }

    /// Asks for a segment and checks that it is the expected one.
    pub(super) async fn segment(
        &self,
        layout: &mut Layout,
        expected: &ExpectedSegment,
    ) -> Result<SegmentDownload> {
        let reply = self.ask(expected.position, false).await?;
        self.accept(layout, reply, expected)
    }

    fn accept(
        &self,
        layout: &mut Layout,
        reply: metainfo::DownloadSegmentResponse,
        expected: &ExpectedSegment,
    ) -> Result<SegmentDownload> {
        let segment = self.convert(reply, expected)?;
        layout.confirm(segment.position, &segment.key)?;
        Ok(segment)
    }

    /// Asks for order limits of all holders of a segment that was accepted before.
    pub(super) async fn all_holders(
        self,
        mut expected: ExpectedSegment,
        key: Key,
    ) -> Result<SegmentDownload> {
        expected.key = Some(key);
        let reply = self.ask(expected.position, true).await?;
        self.convert(reply, &expected)
    }

    async fn ask(
        &self,
        at: SegmentPosition,
        all: bool,
    ) -> Result<metainfo::DownloadSegmentResponse> {
        let satellite = self.project.satellite();
        satellite.download_segment(self.stream_id.clone(), at, all).await.map_err(changed)
    }

    fn convert(
        &self,
        reply: metainfo::DownloadSegmentResponse,
        expected: &ExpectedSegment,
    ) -> Result<SegmentDownload> {
        let satellite = self.project.satellite().signing_key()?;
        convert::segment_download(reply, expected, &self.keys(), &satellite)
    }

    /// R5: opens the end of the last segment. Whole blocks authenticate; that the last one ends in
    /// the padding of exactly this size shows that nothing was cut off.
    async fn check_end(&self, layout: &mut Layout, last: &ListedSegment) -> Result<()> {
        let extent = Extent { offset: last.offset, size: last.plain_size };
        let (key, inline) = (Some(last.key.clone()), Some(extent.is_inline()));
        let expected = ExpectedSegment { position: last.position, extent, key, inline };
        let mut segment = self.segment(layout, &expected).await?;
        let all = Box::pin(self.stream_again().all_holders(expected, last.key.clone()));
        let in_block = layout::in_block_size(self.parameters.block_size)?;
        let mut padding = Vec::new();
        let mut range = 0..extent.size;
        if !extent.is_inline() {
            append_padding(&mut padding, extent.size, in_block)?;
            // As if the padding were content: the same blocks hold both.
            segment.plain_size = extent.size.saturating_add(padding.len() as u64);
            range = extent.size..segment.plain_size;
        }
        let (sender, mut output) = mpsc::channel(1);
        let (project, parameters) = (self.project, self.parameters);
        let reading =
            async move { download(project, parameters, segment, range, all, &sender).await };
        let comparing = async {
            let mut end = Vec::new();
            while let Some(bytes) = output.recv().await {
                end.extend_from_slice(&bytes?);
            }
            Ok::<_, Error>(end)
        };
        let (read, end) = tokio::join!(reading, comparing);
        read?;
        if end? == padding || extent.is_inline() {
            return Ok(());
        }
        Err(unauthenticated("its last segment was cut off"))
    }

    fn stream_again(&self) -> Stream<'_> {
        Stream { stream_id: self.stream_id.clone(), ..*self }
    }
}

/// The segments of a version that is gone are not found.
fn changed(error: Error) -> Error {
    if error.failure().map(|failure| failure.code) != Some(Code::NOT_FOUND) {
        return error;
    }
    let text = "object was replaced or deleted while it was being read";
    Error::new(ErrorKind::ObjectChanged, text).with_source(error)
}

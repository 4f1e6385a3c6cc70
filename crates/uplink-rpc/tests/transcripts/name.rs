//! Names of objects: every encrypted object key, prefix and cursor.

use std::collections::BTreeSet;

use uplink_core::encryption::EncryptionStore;
use uplink_core::encryption::path::{PrefixInfo, decrypt_path, encrypt_path};
use uplink_rpc::r#gen::metainfo::batch_request_item::Request;
use uplink_rpc::r#gen::metainfo::batch_response_item::Response;
use uplink_rpc::r#gen::metainfo::object::Status;
use uplink_rpc::r#gen::metainfo::{ListObjectsRequest, ObjectListItem};

use super::project::keys;
use super::recording::{SETS, Scenario, scenarios, text};

/// Number of decrypted names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Counts {
    requested: usize,
    returned: usize,
    prefixes_and_cursors: usize,
    /// Items of listings, whose names are relative to the prefix.
    listed: usize,
}

struct Opener {
    keys: EncryptionStore,
    /// Every name in the inputs of the set's scenarios. The recording shows invalid UTF-8 as replacement
    /// characters, so names are compared in that form.
    names: BTreeSet<String>,
    counts: Counts,
}

#[test]
fn every_name_decrypts_to_one_of_the_inputs() {
    let counts = SETS.map(|set| {
        let scenarios = scenarios(set);
        let names = scenarios.iter().flat_map(given).map(str::to_owned).collect();
        let mut opener = Opener { keys: EncryptionStore::new(), names, counts: Counts::default() };
        // Handmade requests hold unencrypted names.
        for scenario in scenarios.iter().filter(|scenario| !scenario.name.starts_with("raw_")) {
            opener.keys = keys(set, scenario);
            opener.scenario(scenario);
        }
        opener.counts
    });
    let plain = Counts { requested: 111, returned: 75, prefixes_and_cursors: 11, listed: 63 };
    let few = Counts { requested: 9, returned: 11, prefixes_and_cursors: 1, listed: 3 };
    assert_eq!(counts, [plain, few, few]);
}

/// Returns the names in a scenario's inputs.
fn given<'a>(scenario: &Scenario<'a>) -> Vec<&'a str> {
    let single = ["key", "from_key", "to_key", "from", "to"];
    let mut names: Vec<_> = single.iter().filter_map(|field| scenario.input(field)).collect();
    names.extend(
        scenario.input["keys"].as_array().into_iter().flatten().filter_map(|it| it.as_str()),
    );
    names
}

impl Opener {
    fn scenario(&mut self, scenario: &Scenario<'_>) {
        let mut listed = Vec::new();
        for (request, response) in scenario.exchanges() {
            for (bucket, key) in requested(&request) {
                // The request that finishes a move omits the bucket of the one that began it.
                let bucket = if bucket.is_empty() {
                    scenario.input("to_bucket").unwrap_or_default().as_bytes()
                } else {
                    bucket
                };
                self.open(scenario.name, bucket, key);
                self.counts.requested += 1;
            }
            if let Request::ObjectList(list) = &request {
                listed.extend(self.list(list, response.as_ref()));
            }
            let Some(response) = response else { continue };
            for (bucket, key) in returned(&request, &response) {
                self.open(scenario.name, bucket, key);
                self.counts.returned += 1;
            }
        }
        if let Some(items) = scenario.output["items"].as_array() {
            let shown: Vec<_> = items.iter().map(|item| text(&item["key"])).collect();
            let listed: Vec<_> = listed.iter().map(|name| String::from_utf8_lossy(name)).collect();
            assert_eq!(listed, shown, "{}", scenario.name);
        }
    }

    fn open(&self, scenario: &str, bucket: &[u8], key: &[u8]) {
        let name = decrypt_path(&self.keys, bucket, key).expect(scenario);
        assert!(self.is_known(&name, false), "{}", name.escape_ascii());
        assert_eq!(encrypt_path(&self.keys, bucket, &name).as_deref(), Ok(key));
    }

    /// Decrypts prefix, cursor and items of a listing, and returns the items' names in order.
    fn list(&mut self, request: &ListObjectsRequest, response: Option<&Response>) -> Vec<Vec<u8>> {
        let bucket = &request.bucket;
        let mut prefix =
            decrypt_path(&self.keys, bucket, &request.encrypted_prefix).expect("a prefix");
        if !prefix.is_empty() {
            self.counts.prefixes_and_cursors += 1;
            prefix.push(b'/');
        }
        let names = PrefixInfo::new(&self.keys, bucket, &prefix).expect("keys of the prefix");
        if !request.encrypted_cursor.is_empty() {
            self.counts.prefixes_and_cursors += 1;
            let cursor = names.decrypt_relative(&request.encrypted_cursor).expect("a cursor");
            assert!(self.is_known(&[&prefix[..], &cursor].concat(), false));
        }
        let Some(Response::ObjectList(response)) = response else { return Vec::new() };
        let items = response.items.iter().map(|item| {
            let name = names.decrypt_relative(&item.encrypted_object_key).expect("a name");
            let name = [&prefix[..], &name].concat();
            assert!(
                self.is_known(&name, item.status() == Status::Prefix),
                "{}",
                name.escape_ascii()
            );
            name
        });
        let items: Vec<_> = items.collect();
        self.counts.listed += items.len();
        items
    }

    fn is_known(&self, name: &[u8], is_prefix: bool) -> bool {
        let name = String::from_utf8_lossy(name);
        match is_prefix {
            true => self.names.iter().any(|known| known.starts_with(&*name)),
            false => self.names.contains(&*name),
        }
    }
}

/// Returns bucket and encrypted key of the objects in a request.
fn requested(request: &Request) -> Vec<(&[u8], &[u8])> {
    let names = match request {
        Request::ObjectBegin(it) => vec![(&it.bucket, &it.encrypted_object_key)],
        Request::ObjectGet(it) => vec![(&it.bucket, &it.encrypted_object_key)],
        Request::ObjectBeginDelete(it) => vec![(&it.bucket, &it.encrypted_object_key)],
        Request::ObjectDownload(it) => vec![(&it.bucket, &it.encrypted_object_key)],
        Request::ObjectListPendingStreams(it) => vec![(&it.bucket, &it.encrypted_object_key)],
        Request::ObjectUpdateMetadata(it) => vec![(&it.bucket, &it.encrypted_object_key)],
        Request::ObjectBeginMove(it) => vec![
            (&it.bucket, &it.encrypted_object_key),
            (&it.new_bucket, &it.new_encrypted_object_key),
        ],
        Request::ObjectBeginCopy(it) => vec![
            (&it.bucket, &it.encrypted_object_key),
            (&it.new_bucket, &it.new_encrypted_object_key),
        ],
        Request::ObjectFinishMove(it) => vec![(&it.new_bucket, &it.new_encrypted_object_key)],
        Request::ObjectFinishCopy(it) => vec![(&it.new_bucket, &it.new_encrypted_object_key)],
        Request::ObjectsDelete(it) => {
            it.items.iter().map(|item| (&it.bucket, &item.encrypted_object_key)).collect()
        }
        _ => Vec::new(),
    };
    names.into_iter().map(|(bucket, key)| (&bucket[..], &key[..])).collect()
}

/// Returns bucket and encrypted key of the objects in a response.
fn returned<'a>(request: &'a Request, response: &'a Response) -> Vec<(&'a [u8], &'a [u8])> {
    let object = match response {
        Response::ObjectBegin(it) => return vec![(&it.bucket, &it.encrypted_object_key)],
        Response::ObjectsDelete(it) => {
            let Request::ObjectsDelete(request) = request else { panic!("another request") };
            let items = it.items.iter();
            return items
                .map(|item| (&request.bucket[..], &item.encrypted_object_key[..]))
                .collect();
        }
        Response::ObjectListPendingStreams(it) => {
            let Request::ObjectListPendingStreams(request) = request else {
                panic!("another request")
            };
            let name =
                |item: &'a ObjectListItem| (&request.bucket[..], &item.encrypted_object_key[..]);
            return it.items.iter().map(name).collect();
        }
        Response::ObjectCommit(it) => &it.object,
        Response::ObjectGet(it) => &it.object,
        Response::ObjectBeginDelete(it) => &it.object,
        Response::ObjectDownload(it) => &it.object,
        Response::ObjectFinishCopy(it) => &it.object,
        _ => &None,
    };
    object.iter().map(|object| (&object.bucket[..], &object.encrypted_object_key[..])).collect()
}

//! F25: revocation in random trees of API keys. The satellite rejects a key if it recorded the tail of
//! the key or of an ancestor.

use proptest::prelude::*;
use proptest::sample::Index;
use uplink_core::macaroon::{ApiKey, Caveat, RevocationError};

use super::samples::SECRET;

/// A tree of keys: each one after the first has a parent among the earlier ones.
struct Tree {
    keys: Vec<ApiKey>,
    parents: Vec<usize>,
}

impl Tree {
    fn grow(parents: &[Index]) -> Self {
        let mut tree = Self { keys: vec![ApiKey::new(&SECRET, vec![1; 32])], parents: vec![0] };
        for (nonce, parent) in parents.iter().enumerate() {
            let parent = parent.index(tree.keys.len());
            let nonce = nonce.to_be_bytes().to_vec();
            let caveat = Caveat { nonce, ..Caveat::default() };
            tree.keys.push(tree.keys[parent].restrict(&caveat).expect("a key"));
            tree.parents.push(parent);
        }
        tree
    }

    /// Returns whether a key is another one or below it.
    fn is_below(&self, mut index: usize, ancestor: usize) -> bool {
        while index != ancestor && index != 0 {
            index = self.parents[index];
        }
        index == ancestor
    }
}

proptest! {
    #![proptest_config(super::cases(10_000))]

    #[test]
    fn revoked_key_ends_with_its_descendants_and_no_other(
        parents in prop::collection::vec(any::<Index>(), 1..24),
        revoker in any::<Index>(),
        target in any::<Index>(),
    ) {
        let tree = Tree::grow(&parents);
        let revoker = revoker.index(tree.keys.len());
        let target = target.index(tree.keys.len());
        let revoked = tree.keys[revoker].revoke(&SECRET, &tree.keys[target]);
        if !tree.is_below(target, revoker) || target == revoker {
            prop_assert_eq!(revoked, Err(RevocationError::NotAnAncestor));
            return Ok(());
        }
        let tail = revoked.unwrap();
        for (index, key) in tree.keys.iter().enumerate() {
            let is_rejected = key.tails(&SECRET).contains(&tail);
            prop_assert_eq!(is_rejected, tree.is_below(index, target), "key {}", index);
        }
    }
}

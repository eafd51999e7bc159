//! Two simulations of the same accesses compared, to the last counter and the last bit of state.

use crate::caches::Caches;

impl Caches {
    /// What is first found to differ from `other`, which has the same plain configuration: a counter of an owner, a line, its
    /// place in the order of its set, whether it is dirty, or who wrote it.
    pub fn difference(&self, other: &Caches) -> Option<String> {
        let (mine, theirs) = (self.ledger(), other.ledger());
        if mine.owner_count() != theirs.owner_count() {
            return Some(format!(
                "{} and {} owners",
                mine.owner_count(),
                theirs.owner_count()
            ));
        }
        for owner in 0..mine.owner_count() as u32 {
            if mine.owner(owner) != theirs.owner(owner) {
                return Some(format!(
                    "owner {owner}: {:?} and {:?}",
                    mine.owner(owner),
                    theirs.owner(owner)
                ));
            }
            for (level, (mine, theirs)) in mine.levels(owner).iter().zip(theirs.levels(owner)).enumerate() {
                if mine != theirs {
                    return Some(format!("owner {owner}, level {level}: {mine:?} and {theirs:?}"));
                }
            }
        }
        let (Some(mine), Some(theirs)) = (self.plain_contents(), other.plain_contents()) else {
            return Some("one of them is on the general path".into());
        };
        for (instance, (mine, theirs)) in mine.iter().zip(theirs.iter()).enumerate() {
            for set in 0..mine.sets() {
                if !mine.set(set).eq(theirs.set(set)) {
                    let (mine, theirs): (Vec<_>, Vec<_>) =
                        (mine.set(set).collect(), theirs.set(set).collect());
                    return Some(format!(
                        "instance {instance}, set {set} as (line, dirty, writer): {mine:x?} and {theirs:x?}"
                    ));
                }
            }
        }
        None
    }
}

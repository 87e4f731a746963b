//! Where a look at metadata puts what it finds: it ends at the first fault, or goes on and lists all.

use alloc::vec::Vec;

use crate::contract::fault::ImageFault;
use crate::contract::finding::{CheckReport, Finding};

/// What proves a fault in a pool that others use while it is looked at.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Proof {
    /// One word that no pool ever writes there.
    Word,
    /// Several words, if they stood still.
    Rest,
    /// The same, and nobody added or removed an adapter.
    Owners,
}

/// What was found.
pub(crate) struct Findings {
    /// All that is wrong is wanted; else the first fault ends the look.
    all: bool,
    settled: bool,
    owners_settled: bool,
    list: Vec<Finding>,
    faults: u64,
}

impl Findings {
    /// Of metadata that nobody uses: the first fault ends the look.
    pub(crate) const fn first() -> Findings {
        Findings { all: false, settled: true, owners_settled: true, list: Vec::new(), faults: 0 }
    }

    /// All that is wrong is listed. `settled`: the metadata stood still; `owners_settled`: so did adapters and accounts.
    pub(crate) const fn all(settled: bool, owners_settled: bool) -> Findings {
        Findings { all: true, settled, owners_settled, list: Vec::new(), faults: 0 }
    }

    /// Notes a fault, unless all is `good`, or there is no proof. Whether all is good.
    pub(crate) fn ensure(
        &mut self,
        good: bool,
        proof: Proof,
        finding: impl FnOnce() -> Finding,
    ) -> Result<bool, ImageFault> {
        if good {
            return Ok(true);
        }
        let proved = match proof {
            Proof::Word => true,
            Proof::Rest => self.settled,
            Proof::Owners => self.settled && self.owners_settled,
        };
        if !proved {
            return Ok(false);
        }
        let finding = finding();
        if !self.all {
            return Err(finding.fault());
        }
        self.faults += 1;
        // Without memory for the list, the number is right all the same.
        if self.list.len() < CheckReport::MOST && self.list.try_reserve(1).is_ok() {
            self.list.push(finding);
        }
        Ok(false)
    }

    /// What was found, in a report that says nothing of places yet.
    pub(crate) fn report(self) -> CheckReport {
        CheckReport {
            findings: self.list,
            faults: self.faults,
            settled: self.settled,
            owners_settled: self.settled && self.owners_settled,
            ..CheckReport::default()
        }
    }
}

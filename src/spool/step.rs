//! The steps on which a crash may fall.

/// A step of opening, intake, delivery, salvage, of crossing an air gap or of what a no deletes, after which the process
/// may die without losing, doubling or keeping anything.
///
/// Each is told to the log as it is reached (`trace`, target `milepost::step`), with its number: tests end a
/// process there, and a person who hunts a bug reads how far it came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// A free journal's lock is ours, and its header was read.
    JournalLocked = 1,
    /// The journal stands in `taken/`.
    JournalTaken = 2,
    /// The journal's bytes are durable.
    JournalSynced = 3,
    /// So are the names of both directories.
    DirectoriesSynced = 4,
    /// Some of its blocks are in the store, and its record says so.
    BlocksEntered = 5,
    /// What is in the store is durable.
    Persisted = 6,
    /// The ledger says so.
    LedgerWritten = 7,
    /// A batch is with the courier.
    BatchLeased = 8,
    /// The courier reported.
    BatchReported = 9,
    /// What was reported is booked in the store.
    BatchBooked = 10,
    /// A taken journal of which nothing is left was unlinked.
    JournalUnlinked = 11,
    /// That is durable.
    TakenSynced = 12,
    /// Its record is gone from the store.
    RecordRemoved = 13,
    /// The ledger says that the store is being opened.
    StoreOpening = 14,
    /// It is open and was right. The ledger does not say so yet.
    StoreOpened = 15,
    /// A new store stands beside the old one, or in the place of one that was lost.
    StoreMade = 16,
    /// The old one, written anew, is out of the way. The ledger still names it.
    OldStoreHidden = 17,
    /// The ledger names the new one.
    StoreNamed = 18,
    /// The old one is removed.
    OldStoreRemoved = 19,
    /// What came back out of what was set aside is durable in journals.
    Carried = 20,
    /// What it was read from, or some of it, is removed.
    AsideRemoved = 21,
    /// `milestones.json` says what the store says.
    MilestonesWritten = 22,
    /// A bundle has its name. Nobody knows yet what is on it.
    BundleWritten = 23,
    /// What is on a bundle is known, or what a receipt said of it.
    ExportRecorded = 24,
    /// What was imported is durable in journals that are not in their place.
    ImportWritten = 25,
    /// It is known what came, and which journals are to be moved.
    ImportRecorded = 26,
    /// They are in their place.
    ImportPlaced = 27,
    /// A receipt has its name.
    ReceiptWritten = 28,
    /// The spool beside a delivered bundle is out of the way.
    SpoolHidden = 29,
    /// What a no deletes is noted.
    ErasureNoted = 30,
    /// The device id is gone.
    IdErased = 31,
    /// The ledger counts what will be deleted as dropped, and names it.
    ErasureCounted = 32,
    /// Some of it is deleted.
    EventsErased = 33,
    /// All of it is.
    Erased = 34,
    /// The ledger has counters only.
    ErasureEnded = 35,
}

/// Tells that `step` is done.
pub(crate) fn reached(step: Step) {
    log::trace!(target: "milepost::step", "{} {step:?}", step as u8);
}

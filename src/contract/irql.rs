//! Interrupt request levels, with the numbers of x64 Windows.

use core::fmt;

use crate::contract::words::pad;

/// An interrupt request level (IRQL), 0 to 15, with the numbers of x64 Windows.
///
/// The pool may be called at [`DISPATCH`](Irql::DISPATCH) and below. Above, both routines return
/// [`Status::INVALID_IRQL`](crate::Status::INVALID_IRQL). The platform tells the level at each call. The name of a
/// callback never decides it. The functions of the value itself run at any IRQL.
///
/// ```
/// use storport_pool::Irql;
/// assert_eq!(Irql::new(2), Some(Irql::DISPATCH));
/// assert_eq!(Irql::new(16), None);
/// assert!(Irql::PASSIVE < Irql::APC && Irql::DISPATCH < Irql::DEVICE && Irql::DEVICE < Irql::CLOCK);
/// assert_eq!((Irql::IPI.level(), Irql::HIGH.level()), (14, 15));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub struct Irql(u8);

impl Irql {
    /// Ordinary code.
    pub const PASSIVE: Irql = Irql(0);
    /// Asynchronous procedure calls are masked.
    pub const APC: Irql = Irql(1);
    /// The highest level at which the pool may be called. Deferred procedure calls (DPCs) run at it.
    pub const DISPATCH: Irql = Irql(2);
    /// The lowest level of a device (DIRQL). Devices have 3 to 12.
    pub const DEVICE: Irql = Irql(3);
    /// The clock interrupt.
    pub const CLOCK: Irql = Irql(13);
    /// Inter-processor interrupts and power failure.
    pub const IPI: Irql = Irql(14);
    /// Everything is masked. Dumps are written at this level.
    pub const HIGH: Irql = Irql(15);

    /// The level with this number. `None`: the number is above 15.
    #[must_use]
    pub const fn new(level: u8) -> Option<Irql> {
        if level <= 15 { Some(Irql(level)) } else { None }
    }

    /// The number, as `KeGetCurrentIrql` would return it.
    #[must_use]
    pub const fn level(self) -> u8 {
        self.0
    }
}

/// The number is above 15, so no IRQL has it.
///
/// ```
/// use storport_pool::Irql;
/// assert_eq!(Irql::try_from(2), Ok(Irql::DISPATCH));
/// assert!(Irql::try_from(16).unwrap_err().to_string().contains("16"));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct IrqlError(u8);

impl fmt::Display for IrqlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is no IRQL; they are 0 to 15", self.0)
    }
}

impl core::error::Error for IrqlError {}

/// [`Irql::new`], with an error for what is no level.
impl TryFrom<u8> for Irql {
    type Error = IrqlError;

    fn try_from(level: u8) -> Result<Irql, IrqlError> {
        Irql::new(level).ok_or(IrqlError(level))
    }
}

/// [`Irql::level`].
impl From<Irql> for u8 {
    fn from(irql: Irql) -> u8 {
        irql.level()
    }
}

impl fmt::Display for Irql {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            0 => f.pad("PASSIVE_LEVEL"),
            1 => f.pad("APC_LEVEL"),
            2 => f.pad("DISPATCH_LEVEL"),
            13 => f.pad("CLOCK_LEVEL"),
            14 => f.pad("IPI_LEVEL"),
            15 => f.pad("HIGH_LEVEL"),
            device => pad(f, format_args!("DIRQL {device}")),
        }
    }
}

impl fmt::Debug for Irql {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

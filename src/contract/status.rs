//! `STOR_STATUS_*`, as `storport.h` numbers them.

use core::fmt;

use crate::contract::words::pad;

/// What both routines return: a `STOR_STATUS_*`.
///
/// The numbers are those of the driver kit. So a driver's `NT_SUCCESS()` works on [`code`](Status::code). The functions
/// run at any IRQL.
///
/// ```
/// use storport_pool::Status;
/// let refused = Status::INVALID_IRQL;
/// assert_eq!((refused.code(), refused.name()), (0xC100_0008, Some("STOR_STATUS_INVALID_IRQL")));
/// assert_eq!(Status::from_code(0xC100_0008), refused);
/// assert!(Status::SUCCESS.is_success() && !refused.is_success());
/// assert_eq!((Status::SUCCESS.ok(), refused.ok()), (Ok(()), Err(refused)));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
#[repr(transparent)]
#[must_use = "a failed call did nothing: after a free, the block is still allocated"]
pub struct Status(u32);

macro_rules! statuses {
    ($($(#[$doc:meta])* $name:ident = $code:literal;)*) => {
        impl Status {
            $($(#[$doc])* pub const $name: Status = Status($code);)*

            /// The name, as `storport.h` spells it. `None`: the header defines no status with this number.
            #[must_use]
            pub const fn name(self) -> Option<&'static str> {
                match self.0 {
                    $($code => Some(concat!("STOR_STATUS_", stringify!($name))),)*
                    _ => None,
                }
            }

            /// The status with this name, as `storport.h` spells it.
            ///
            /// ```
            /// use storport_pool::Status;
            /// assert_eq!(Status::named("STOR_STATUS_BUSY"), Some(Status::BUSY));
            /// assert_eq!(Status::named("BUSY"), None);
            /// ```
            #[must_use]
            pub fn named(name: &str) -> Option<Status> {
                match name.strip_prefix("STOR_STATUS_")? {
                    $(stringify!($name) => Some(Status($code)),)*
                    _ => None,
                }
            }
        }
    };
}

statuses! {
    /// The routine did its work.
    SUCCESS = 0x0000_0000;
    /// Not returned by the pool; part of the family.
    UNSUCCESSFUL = 0xC100_0001;
    /// The running system does not implement the routine (an old system, or dump mode).
    NOT_IMPLEMENTED = 0xC100_0002;
    /// There is no memory for the request.
    INSUFFICIENT_RESOURCES = 0xC100_0003;
    /// Not returned by the pool; part of the family.
    BUFFER_TOO_SMALL = 0xC100_0004;
    /// Not returned by the pool; part of the family.
    ACCESS_DENIED = 0xC100_0005;
    /// An argument is NULL or zero, or names no live block of this adapter.
    INVALID_PARAMETER = 0xC100_0006;
    /// Not returned by the pool; part of the family.
    INVALID_DEVICE_REQUEST = 0xC100_0007;
    /// The caller runs above `DISPATCH_LEVEL`.
    INVALID_IRQL = 0xC100_0008;
    /// Not returned by the pool; part of the family.
    INVALID_DEVICE_STATE = 0xC100_0009;
    /// Not returned by the pool; part of the family.
    INVALID_BUFFER_SIZE = 0xC100_000A;
    /// Not returned by the pool; part of the family.
    UNSUPPORTED_VERSION = 0xC100_000B;
    /// Not returned by the pool; part of the family.
    BUSY = 0xC100_000C;
}

impl Status {
    /// The number that C sees.
    #[must_use]
    pub const fn code(self) -> u32 {
        self.0
    }

    /// The status with this number. Every number is accepted.
    pub const fn from_code(code: u32) -> Status {
        Status(code)
    }

    /// What `NT_SUCCESS()` answers: whether the top bit is clear.
    #[must_use]
    pub const fn is_success(self) -> bool {
        self.0 >> 31 == 0
    }

    /// `Ok` if [`is_success`](Status::is_success), else the status as the error.
    ///
    /// # Errors
    /// The status itself, if its top bit is set.
    pub const fn ok(self) -> Result<(), Status> {
        if self.is_success() { Ok(()) } else { Err(self) }
    }
}

/// [`Status::ok`].
impl From<Status> for Result<(), Status> {
    fn from(status: Status) -> Result<(), Status> {
        status.ok()
    }
}

/// [`Status::code`].
impl From<Status> for u32 {
    fn from(status: Status) -> u32 {
        status.code()
    }
}

/// [`Status::from_code`].
impl From<u32> for Status {
    fn from(code: u32) -> Status {
        Status::from_code(code)
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.pad(name),
            None => pad(f, format_args!("STOR_STATUS {:#010X}", self.0)),
        }
    }
}

impl fmt::Debug for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl core::error::Error for Status {}

#[cfg(test)]
mod tests {
    extern crate std;
    use std::format;

    use super::Status;

    #[test]
    fn names_codes_and_success() {
        assert!(Status::SUCCESS.is_success() && Status::from_code(0x4000_0000).is_success());
        assert!(!Status::from_code(0x8000_0000).is_success() && !Status::INVALID_IRQL.is_success());
        assert_eq!(Status::SUCCESS.ok(), Ok(()));
        assert_eq!(Status::INVALID_IRQL.ok(), Err(Status::INVALID_IRQL));
        assert_eq!(
            format!("{} {:?}", Status::SUCCESS, Status::SUCCESS),
            "STOR_STATUS_SUCCESS STOR_STATUS_SUCCESS"
        );
        assert_eq!(format!("{:?}", Status::from_code(0xC123_4567)), "STOR_STATUS 0xC1234567");
    }
}

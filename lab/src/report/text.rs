//! Numbers for people.

/// Nanoseconds, with as many digits as they deserve; 0 stands for nothing measured.
pub(super) fn ns(value: f64) -> String {
    match value {
        value if !value.is_finite() || value <= 0.0 => "-".to_owned(),
        value if value < 100.0 => format!("{value:.1}"),
        value => grouped(value.round() as u64),
    }
}

/// A factor: "2.3x".
pub(super) fn factor(value: f64) -> String {
    if value.is_finite() { format!("{value:.2}x") } else { "-".to_owned() }
}

/// A count with its thousands apart.
pub(crate) fn grouped(value: u64) -> String {
    let digits = value.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// A change, in the parentheses of PoolMon's columns.
pub(super) fn delta(value: i64) -> String {
    let sign = if value < 0 { "-" } else { "" };
    format!("({sign}{})", grouped(value.unsigned_abs()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well() {
        assert_eq!(grouped(0), "0");
        assert_eq!(grouped(999), "999");
        assert_eq!(grouped(1_234_567), "1,234,567");
        assert_eq!(delta(-1000), "(-1,000)");
        assert_eq!(ns(4.26), "4.3");
        assert_eq!(ns(12_345.6), "12,346");
        assert_eq!(ns(f64::NAN), "-");
        assert_eq!(ns(0.0), "-");
    }
}

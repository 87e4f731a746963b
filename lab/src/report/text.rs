//! Numbers for people.

/// Nanoseconds, with as many digits as they deserve; 0 stands for nothing measured.
pub(super) fn ns(value: f64) -> String {
    match value {
        value if !value.is_finite() || value <= 0.0 => "-".to_owned(),
        value if value < 100.0 => format!("{value:.1}"),
        value => grouped(value.round() as u64),
    }
}

/// Nanoseconds in five characters or six: "4.3", "150", "1.2µ", "35m".
pub(super) fn short(ns: f64) -> String {
    let (value, unit) = match ns {
        ns if !ns.is_finite() || ns <= 0.0 => return "-".to_owned(),
        ns if ns < 999.5 => (ns, ""),
        ns if ns < 999.5e3 => (ns / 1e3, "µ"),
        ns if ns < 999.5e6 => (ns / 1e6, "m"),
        ns => (ns / 1e9, "s"),
    };
    if value < 9.95 { format!("{value:.1}{unit}") } else { format!("{value:.0}{unit}") }
}

/// A ratio in four characters or five: "<.01", "0.05", "1.36", "12.4".
pub(super) fn ratio(value: f64) -> String {
    match value {
        value if !value.is_finite() || value <= 0.0 => "-".to_owned(),
        value if value < 0.005 => "<.01".to_owned(),
        value if value < 9.995 => format!("{value:.2}"),
        value if value < 99.95 => format!("{value:.1}"),
        value => grouped(value.round() as u64),
    }
}

/// From one ratio to another.
pub(super) fn span((low, high): (f64, f64)) -> String {
    format!("{} to {}", ratio(low), ratio(high))
}

/// Bytes in MiB.
pub(super) fn mib(bytes: u64) -> String {
    format!("{:.1}", bytes as f64 / f64::from(1 << 20))
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

/// A text in lines of at most so many characters, where its words allow it.
pub(super) fn lines(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

/// A change, in the parentheses of PoolMon's columns.
pub(crate) fn delta(value: i64) -> String {
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
        assert_eq!(mib(3 << 19), "1.5");
        let short = [4.26, 150.4, 999.6, 1234.0, 35e6, 2e9, 0.0].map(short);
        assert_eq!(short, ["4.3", "150", "1.0µ", "1.2µ", "35m", "2.0s", "-"]);
        assert_eq!(lines("one  two three\nfour", 8), ["one two", "three", "four"]);
        assert_eq!(lines("", 8), Vec::<String>::new());
        let ratios = [0.0012, 0.051, 1.0, 9.999, 12.34, 1234.5, f64::INFINITY].map(ratio);
        assert_eq!(ratios, ["<.01", "0.05", "1.00", "10.0", "12.3", "1,235", "-"]);
    }
}

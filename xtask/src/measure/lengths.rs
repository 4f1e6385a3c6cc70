//! Lengths of functions and files.

/// Returns the length of each function in a formatted source, from its signature to its closing brace.
pub(crate) fn functions(source: &str) -> Vec<usize> {
    let mut lengths = Vec::new();
    let mut open: Vec<(usize, usize)> = Vec::new();
    for (number, line) in source.lines().enumerate() {
        let indent = line.len() - line.trim_start().len();
        if is_signature(line.trim_start()) {
            if line.trim_end().ends_with('}') && line.contains('{') {
                lengths.push(1);
            } else {
                open.push((indent, number));
            }
            continue;
        }
        let Some(&(start_indent, start)) = open.last() else { continue };
        if indent == start_indent && line.trim_start().starts_with('}') {
            lengths.push(number - start + 1);
            open.pop();
        } else if indent <= start_indent && line.trim_end().ends_with(';') {
            // A declaration without a body.
            open.pop();
        }
    }
    lengths
}

fn is_signature(line: &str) -> bool {
    let mut words = line.split_whitespace().peekable();
    while let Some(word) = words.peek() {
        let modifier = word.starts_with("pub") || ["const", "async", "unsafe"].contains(word);
        if !modifier {
            break;
        }
        words.next();
    }
    words.next() == Some("fn") && !line.trim_end().ends_with(';')
}

/// Returns the percentile of sorted values.
pub(crate) fn percentile(sorted: &[usize], percent: usize) -> usize {
    let index = sorted.len().saturating_sub(1) * percent / 100;
    sorted.get(index).copied().unwrap_or_default()
}

# What perl's memory is for: strings, hashes, closures, sorts, expressions, children. Prints what must not depend on malloc.
use strict;
use warnings;

my $seed = 1;
sub next_number { $seed = ($seed * 1103515245 + 12345) % 2147483648; return $seed >> 8 }

my (%words, @lines);
for my $n (1 .. 60_000) {
    my $word = join '', map { chr(97 + next_number() % 26) } 1 .. 1 + next_number() % 12;
    $words{$word}++;
    push @lines, "$word $n " . ('x' x (next_number() % 200));
}
my $sum = 0;
for my $word (sort { $words{$b} <=> $words{$a} || $a cmp $b } keys %words) {
    $sum = ($sum * 31 + $words{$word} * length $word) % 1_000_000_007;
}
printf "%d words, %d\n", scalar keys %words, $sum;

my $text = join "\n", @lines;
my $found = () = $text =~ /\b[aeiou]\w*?([^aeiou ])\1\w*\b/g;
(my $turned = $text) =~ s/(\w+) (\d+)/$2 . reverse $1/ge;
printf "%d found, %d long, %s\n", $found, length $turned, unpack('%32C*', $turned);

my @made = map { my $n = $_; sub { my $m = shift; return $n <= 1 ? $m : $n * $m } } 1 .. 20_000;
my $all = 0;
$all = ($all + $_->(3)) % 1_000_003 for @made;
print "$all from closures\n";

my $tree = sub { my ($self, $depth) = @_; return $depth ? [map { $self->($self, $depth - 1) } 1 .. 4] : {leaf => [1 .. 5]} };
my $count = sub { my ($self, $node) = @_; my $n = 0; return scalar @{$node->{leaf}} if ref $node eq 'HASH'; $n += $self->($self, $_) for @$node; return $n };
print $count->($count, $tree->($tree, 6)), " leaves\n";

for my $child (1 .. 8) {
    my $pid = open(my $pipe, '-|') // die "fork: $!";
    if (!$pid) {
        my %own = map { $_ => "$child-$_" x 3 } 1 .. 5000;
        print join(',', sort { $a cmp $b } values %own) =~ tr/,//, "\n";
        exit 0;
    }
    print "child $child: ", <$pipe>;
    close $pipe or die "a child ended with $?";
}
my $shell = `echo a shell`;
print $shell;
my $large = 'y' x 30_000_000;
$large .= 'z' x 1000 for 1 .. 2000;
print length($large), "\n";

#!/usr/bin/perl
# Writes the table of Sources/Rewards/BuiltIns/Language/ScriptTable.swift from Perl's own Unicode data (14.0 with Perl 5.36):
# the script of every letter (general category L). A range runs on over what is no letter, since only letters are looked up.
#
#     perl scripts.pl > ../../../Sources/Rewards/BuiltIns/Language/ScriptTable.swift
use strict;
use warnings;
use Unicode::UCD;

my ($starts, $scripts) = Unicode::UCD::prop_invmap("Script");
my ($categoryStarts, $categories) = Unicode::UCD::prop_invmap("General_Category");
my (@ranges, %seen, $s, $g);
$s = $g = 0;
for (my $c = 0; $c < 0x110000; ) {
  $s++ while $s + 1 < @$starts && $starts->[$s + 1] <= $c;
  $g++ while $g + 1 < @$categoryStarts && $categoryStarts->[$g + 1] <= $c;
  my $end = 0x110000;
  $end = $starts->[$s + 1] if $s + 1 < @$starts && $starts->[$s + 1] < $end;
  $end = $categoryStarts->[$g + 1] if $g + 1 < @$categoryStarts && $categoryStarts->[$g + 1] < $end;
  if ($categories->[$g] =~ /^(L[ultmo]|L|.*Letter.*)$/) {
    my $script = $scripts->[$s];
    if (@ranges && $ranges[-1][2] eq $script) { $ranges[-1][1] = $end - 1 }
    else { push @ranges, [$c, $end - 1, $script] }
  }
  $c = $end;
}
$seen{$_->[2]}++ for @ranges;
my $version = Unicode::UCD::UnicodeVersion();
$version =~ s/\.0$//;
print <<"HEAD";
/// The script of every letter, as `first-last` in hexadecimal; what stands in a range and is no letter has no meaning.
///
/// Made by Tests/Fixtures/unicode/scripts.pl from the Unicode character database, version $version.
enum ScriptTable {
  static let ranges: [(script: String, ranges: String)] = [
HEAD
for my $script (sort keys %seen) {
  my $name = $script;
  my @items = map { $_->[0] == $_->[1] ? sprintf("%X", $_->[0]) : sprintf("%X-%X", $_->[0], $_->[1]) }
    grep { $_->[2] eq $script } @ranges;
  my (@lines, $line);
  $line = "";
  for my $item (@items) {
    if ($line ne "" && length($line) + 1 + length($item) > 104) { push @lines, $line; $line = "" }
    $line .= ($line eq "" ? "" : " ") . $item;
  }
  push @lines, $line;
  if (@lines == 1 && length($lines[0]) + length($name) < 104) { print qq{    ("$name", "$lines[0]"),\n} }
  else {
    print qq{    (\n      "$name",\n};
    for my $i (0 .. $#lines) {
      my $text = $lines[$i] . ($i < $#lines ? " " : "");
      print $i == 0 ? qq{      "$text"\n} : qq{        + "$text"\n};
    }
    print "    ),\n";
  }
}
print "  ]\n}\n";

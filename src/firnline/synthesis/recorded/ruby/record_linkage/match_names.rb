# frozen_string_literal: true

# Find records that probably describe the same person, and merge them into groups.
#
# Problem: two customer lists spell names differently ("Meier, Hans", "hans maier"). Comparing
# every pair is quadratic, and no single similarity is reliable. Linkage works in three steps:
#   1. blocking:  only records that share a cheap key are compared
#   2. scoring:   several similarities, weighted, give a score from 0 to 1
#   3. grouping:  pairs above a threshold are joined with a union-find structure

Person = Struct.new(:id, :name, :town, :born)

# Text similarities that know nothing about persons.
module Similarity
  module_function

  # Jaro similarity: letters that agree within a short distance, less transpositions.
  def jaro(left, right)
    return 1.0 if left == right
    return 0.0 if left.empty? || right.empty?

    reach = [[left.size, right.size].max / 2 - 1, 0].max
    taken = Array.new(right.size, false)
    matched = left.each_char.with_index.filter_map do |letter, i|
      from = [i - reach, 0].max
      j = (from..[i + reach, right.size - 1].min).find { |k| !taken[k] && right[k] == letter }
      taken[j] = true if j
      letter if j
    end
    return 0.0 if matched.empty?

    others = right.each_char.with_index.filter_map { |letter, j| letter if taken[j] }
    swapped = matched.zip(others).count { |a, b| a != b } / 2.0
    m = matched.size.to_f
    (m / left.size + m / right.size + (m - swapped) / m) / 3
  end

  # Names agree more if they begin alike, since typing errors are rare in front.
  def jaro_winkler(left, right)
    base = jaro(left, right)
    prefix = left.chars.zip(right.chars).first(4).take_while { |a, b| a == b }.size
    base + prefix * 0.1 * (1 - base)
  end

  # A rough sound code: classes of consonants, without repetitions.
  def sound(word)
    consonants = word.tr('bpfvwcgjkqsxzdtlmnr', 'BBBBBKKKKKKKKDDLMMR').delete('^A-Z')
    consonants.squeeze[0, 3]
  end
end

# Joins elements into disjoint groups.
class UnionFind
  def initialize = @parent = Hash.new { |hash, key| hash[key] = key }

  def root(element)
    element = @parent[element] = @parent[@parent[element]] until @parent[element] == element
    element
  end

  def join(left, right)
    @parent[root(left)] = root(right)
  end

  def groups(elements)
    elements.group_by { |e| root(e) }.values
  end
end

# Compares persons and groups those that match.
class Linker
  WEIGHTS = { name: 0.6, town: 0.15, born: 0.25 }.freeze

  attr_reader :compared

  def initialize(threshold: 0.88)
    @threshold = threshold
    @compared = 0
  end

  def link(persons)
    union = UnionFind.new
    candidate_pairs(persons).each do |a, b|
      @compared += 1
      union.join(a.id, b.id) if score(a, b) >= @threshold
    end
    union.groups(persons.map(&:id)).map(&:sort).sort
  end

  # Weighted mean over the fields that both records have.
  def score(left, right)
    parts = { name: Similarity.jaro_winkler(normal(left.name), normal(right.name)) }
    parts[:town] = left.town == right.town ? 1.0 : 0.0 if left.town && right.town
    parts[:born] = born_score(left.born, right.born) if left.born && right.born
    parts.sum { |field, value| WEIGHTS[field] * value } / parts.keys.sum { |f| WEIGHTS[f] }
  end

  private

  # Every word's sound is a key, so the order of first and last name is unimportant.
  def candidate_pairs(persons)
    blocks = Hash.new { |hash, key| hash[key] = [] }
    persons.each do |person|
      keys = normal(person.name).split.map { |word| Similarity.sound(word) }
      keys.uniq.each { |key| blocks[key] << person }
    end
    blocks.values.flat_map { |block| block.combination(2).to_a }.uniq
  end

  def normal(text)
    text.downcase.gsub(/[^a-z ]/, '').split.sort.join(' ')
  end

  # Day and month are often swapped; a different year is another person.
  def born_score(left, right)
    return 1.0 if left == right

    year, *day = left.split('-')
    other_year, *other_day = right.split('-')
    return 0.0 unless year == other_year

    day.sort == other_day.sort ? 0.9 : 0.3
  end
end

if $PROGRAM_NAME == __FILE__
  rows = [
    [1, 'Meier, Hans', 'Ulm', '1970-03-12'], [2, 'hans maier', 'Ulm', '1970-12-03'],
    [3, 'Hans Meyer', 'Kiel', '1991-07-01'], [4, 'Anna-Lena Kruse', 'Bonn', nil],
    [5, 'Kruse, Annalena', 'Bonn', '1985-01-30'], [6, 'Peter Ott', nil, '1960-06-06'],
    [7, 'Petra Ott', 'Trier', '1960-06-09'], [8, 'Hans Meier', nil, '1970-03-12']
  ]
  persons = rows.map { |row| Person.new(*row) }
  linker = Linker.new
  groups = linker.link(persons)
  puts "groups: #{groups.inspect}, #{linker.compared} of 28 pairs compared"
  abort 'jaro is wrong' unless Similarity.jaro('martha', 'marhta').round(3) == 0.944
  abort 'wrong groups' unless groups == [[1, 2, 8], [3], [4, 5], [6], [7]]
  abort 'blocking has no effect' unless linker.compared < 28
end

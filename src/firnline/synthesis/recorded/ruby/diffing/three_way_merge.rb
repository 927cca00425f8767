# frozen_string_literal: true

# Three-way merge of texts: combine two independent changes of a common ancestor.
#
# Problem: Ann and Ben edit copies of one document. Comparing the two copies cannot tell an
# insertion by Ann from a deletion by Ben; comparing each copy with the ancestor can. Lines of
# the ancestor that are unchanged in BOTH copies divide the texts into regions. A region
# changed on one side only takes that side; one changed on both sides in different ways is a
# conflict, which is marked and left to a person.
module Merge
  Result = Struct.new(:lines, :conflicts)

  module_function

  def merge(base, ours, theirs, labels: %w[ours theirs])
    merged = []
    conflicts = 0
    regions(base, ours, theirs).each do |old, left, right|
      if left == right || right == old
        merged.concat(left)
      elsif left == old
        merged.concat(right)
      else
        conflicts += 1
        merged.concat(marked(left, right, labels))
      end
    end
    Result.new(merged, conflicts)
  end

  # Equal lines at the edges of a conflict belong to both sides and are moved out of it.
  def marked(left, right, labels)
    front = left.zip(right).take_while { |a, b| a == b }.size
    back = left.drop(front).reverse.zip(right.drop(front).reverse).take_while { |a, b| a == b }.size
    middle = ->(lines) { lines[front...(lines.size - back)] }
    [*left.first(front), "<<<<<<< #{labels[0]}", *middle.call(left), '=======',
     *middle.call(right), ">>>>>>> #{labels[1]}", *left.last(back)]
  end

  # Triples [ancestor, ours, theirs] that together make up the three texts.
  def regions(base, ours, theirs)
    in_ours = matches(base, ours)
    in_theirs = matches(base, theirs)
    anchors = (0...base.size).select { |i| in_ours[i] && in_theirs[i] }
    at = [0, 0, 0]
    triples = []
    anchors.map { |i| [i, in_ours[i], in_theirs[i]] }.each do |anchor|
      triples << slices([base, ours, theirs], at, anchor)
      triples << [base, ours, theirs].zip(anchor).map { |text, i| [text[i]] }
      at = anchor.map(&:succ)
    end
    triples << slices([base, ours, theirs], at, [base, ours, theirs].map(&:size))
    triples.reject { |triple| triple.all?(&:empty?) }
  end

  def slices(texts, from, to)
    texts.each_index.map { |i| texts[i][from[i]...to[i]] }
  end

  # Positions of a longest common subsequence, as a map from base to other, found by Myers'
  # greedy algorithm: the farthest point on each diagonal for a growing number of edits.
  def matches(base, other)
    farthest = { 1 => 0 }
    trace = []
    (0..base.size + other.size).each do |edits|
      trace << farthest.dup
      (-edits..edits).step(2) do |diagonal|
        down = diagonal == -edits ||
               (diagonal != edits && farthest[diagonal - 1] < farthest[diagonal + 1])
        x = down ? farthest[diagonal + 1] : farthest[diagonal - 1] + 1
        y = x - diagonal
        x, y = x + 1, y + 1 while x < base.size && y < other.size && base[x] == other[y]
        farthest[diagonal] = x
        return backtrack(trace, x, y) if x >= base.size && y >= other.size
      end
    end
  end

  # Walk from the end to the start and collect the diagonal steps.
  def backtrack(trace, x, y)
    pairs = {}
    (trace.size - 1).downto(0) do |edits|
      farthest = trace[edits]
      diagonal = x - y
      down = diagonal == -edits ||
             (diagonal != edits && farthest[diagonal - 1] < farthest[diagonal + 1])
      previous = down ? diagonal + 1 : diagonal - 1
      start_x = edits.zero? ? 0 : farthest[previous]
      start_y = edits.zero? ? 0 : start_x - previous
      while x > start_x && y > start_y
        x -= 1
        y -= 1
        pairs[x] = y
      end
      x = start_x
      y = start_y
    end
    pairs
  end
end

if $PROGRAM_NAME == __FILE__
  base = %w[title flour water salt knead bake eat]
  ours = %w[TITLE flour water yeast salt knead bake eat]
  theirs = %w[title flour water salt knead rest bake]
  clean = Merge.merge(base, ours, theirs)
  puts clean.lines.join(' ')
  abort 'clean merge' unless clean.lines == %w[TITLE flour water yeast salt knead rest bake]
  abort 'no conflict expected' unless clean.conflicts.zero?

  left = %w[title flour water sugar pepper knead bake eat]
  right = %w[title flour water sugar honey knead bake eat]
  torn = Merge.merge(base, left, right, labels: %w[ann ben])
  puts torn.lines
  abort 'conflict' unless torn.conflicts == 1 && torn.lines[3, 6] ==
    ['sugar', '<<<<<<< ann', 'pepper', '=======', 'honey', '>>>>>>> ben']

  same = Merge.merge(base, ours, ours)
  abort 'equal changes' unless same.lines == ours && same.conflicts.zero?
  abort 'emptied' unless Merge.merge(base, [], base).lines.empty?

  random = Random.new(3)
  300.times do # one-sided changes must always give exactly that side
    old = Array.new(random.rand(12)) { random.rand(4) }
    new = Array.new(random.rand(12)) { random.rand(4) }
    abort 'one-sided' unless Merge.merge(old, new, old).lines == new
    abort 'one-sided' unless Merge.merge(old, old, new).lines == new
    pairs = Merge.matches(old, new).to_a.sort
    abort 'order' unless pairs.map(&:last) == pairs.map(&:last).sort
    abort 'equality' unless pairs.all? { |i, j| old[i] == new[j] }
  end
end

# frozen_string_literal: true

# Join sorted streams lazily: merging, grouping, and joins with constant memory.
#
# Problem: two exports, each larger than memory, are sorted by customer number: orders and
# payments. Loading one into a hash is impossible. Sorted inputs can be walked side by side:
# only one line of each (and the current group) is held at a time. Wrong sorting would give
# silently wrong results, so it is verified on the way.
module SortedStreams
  class NotSorted < StandardError; end

  # One element of look-ahead over any Enumerable, with a check of the order.
  class Cursor
    def initialize(source, name, &key)
      @enumerator = source.each_entry
      @name = name
      @key = key
      @last = nil
      advance
    end

    attr_reader :value, :key_value

    def done?
      @done
    end

    # Return the current element and move on.
    def take
      value.tap { advance }
    end

    # All consecutive elements with the current key.
    def take_group
      wanted = key_value
      group = []
      group << take while !done? && key_value == wanted
      group
    end

    private

    def advance
      @value = @enumerator.next
      @key_value = @key.call(@value)
      if @last && (@last <=> @key_value).positive?
        raise NotSorted, "#{@name}: #{@key_value.inspect} comes after #{@last.inspect}"
      end

      @last = @key_value
    rescue StopIteration
      @done = true
      @value = @key_value = nil
    end
  end

  module_function

  # Merge any number of sorted streams into one; equal keys keep the order of the streams.
  def merge(*sources, &key)
    key ||= :itself.to_proc
    Enumerator.new do |out|
      cursors = sources.each_with_index.map { |s, i| Cursor.new(s, "stream #{i + 1}", &key) }
      while (cursor = cursors.reject(&:done?).min_by(&:key_value))
        out << cursor.take
      end
    end.lazy
  end

  # Yield [key, left group, right group]; a group is empty if one side lacks the key.
  def full_join(left, right, left_key:, right_key:)
    Enumerator.new do |out|
      a = Cursor.new(left, 'left side', &left_key)
      b = Cursor.new(right, 'right side', &right_key)
      until a.done? && b.done?
        key = [a, b].reject(&:done?).map(&:key_value).min
        groups = [a, b].map { |c| !c.done? && c.key_value == key ? c.take_group : [] }
        out << [key, *groups]
      end
    end.lazy
  end

  # Split a large sorted input into runs and merge them: an external sort. The block writes a
  # run somewhere and returns an Enumerable that reads it again.
  def external_sort(source, run_size:, &store)
    raise ArgumentError, 'run_size must be positive' unless run_size.positive?

    merge(*source.each_slice(run_size).map { |run| store.call(run.sort) })
  end
end

# Unpaid amounts per customer; an example of a report that needs no more than one group.
def open_amounts(orders, payments)
  by_customer = ->(row) { row[0] }
  SortedStreams
    .full_join(orders, payments, left_key: by_customer, right_key: by_customer)
    .map { |customer, ordered, paid| [customer, ordered.sum { |r| r[1] } - paid.sum { |r| r[1] }] }
    .reject { |_, open| open.zero? }
end

if $PROGRAM_NAME == __FILE__
  require 'tempfile'

  orders = [['C01', 50], ['C01', 25], ['C03', 10], ['C04', 99]]
  payments = [['C01', 75], ['C02', 5], ['C04', 60], ['C04', 9]]
  report = open_amounts(orders, payments).to_a
  puts report.map { |customer, open| format('%s %+d', customer, open) }
  abort 'report' unless report == [['C02', -5], ['C03', 10], ['C04', 30]]

  # Endless streams work, because nothing is read before it is needed.
  evens = (0..).lazy.map { |n| n * 2 }
  squares = (0..).lazy.map { |n| n * n }
  firsts = SortedStreams.merge(evens, squares).first(9)
  abort 'merge' unless firsts == [0, 0, 1, 2, 4, 4, 6, 8, 9]
  number = :itself.to_proc
  joined = SortedStreams.full_join(evens, squares, left_key: number, right_key: number)
  common = joined.select { |_, a, b| a.any? && b.any? }.map(&:first).first(4)
  abort 'join' unless common == [0, 4, 16, 36]

  files = []
  numbers = Array.new(1000) { |i| i * 7919 % 10_007 }
  sorted = SortedStreams.external_sort(numbers, run_size: 128) do |run|
    file = Tempfile.new('run')
    files << file
    file.puts(run)
    file.rewind
    file.each_line.lazy.map(&:to_i)
  end
  abort 'external sort' unless sorted.to_a == numbers.sort
  puts "sorted #{numbers.size} numbers in #{files.size} runs"
  files.each(&:close!)

  begin
    SortedStreams.merge([1, 5, 3], [2]).to_a
    abort 'accepted an unsorted stream'
  rescue SortedStreams::NotSorted => e
    puts e.message
  end
end

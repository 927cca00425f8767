# frozen_string_literal: true

# A small language for the life cycle of business objects.
#
# Problem: an order is drafted, approved, shipped, cancelled, each under conditions. Spread
# over the code as "if status == ..." such rules contradict each other sooner or later. Here a
# class declares its states and events in one place; methods such as `approve!`, `approve?`
# and `draft?` follow from the declaration. Mistakes in the declaration (unknown or unreachable
# states) are found when it is completed, not when the first order gets stuck.
module Workflow
  class DefinitionError < StandardError; end
  class Refused < StandardError; end # an event is not possible

  Transition = Struct.new(:from, :to, :condition, :reason)

  # The receiver of the block given to `workflow`.
  class Definition
    attr_reader :states, :events, :start

    def initialize
      @states = []
      @events = Hash.new { |hash, name| hash[name] = [] }
    end

    # The first state named is the one in which objects start.
    def state(*names)
      @start ||= names.first
      @states.concat(names)
    end

    # An event may have several transitions; the first whose condition holds is taken.
    def event(name, from:, to:, only_if: nil, because: 'condition not met')
      Array(from).each { |state| @events[name] << Transition.new(state, to, only_if, because) }
    end

    def validate!
      used = @events.values.flatten.flat_map { |t| [t.from, t.to] }.uniq
      unknown = used - @states
      raise DefinitionError, "unknown states: #{unknown.join(', ')}" unless unknown.empty?

      lost = @states - reachable
      raise DefinitionError, "unreachable states: #{lost.join(', ')}" unless lost.empty?
    end

    private

    def reachable
      seen = [@start]
      seen.each do |state| # `each` also visits elements that are appended meanwhile
        next_states = @events.values.flatten.select { |t| t.from == state }.map(&:to)
        seen.concat(next_states.uniq - seen)
      end
    end
  end

  def self.included(base) = base.extend(ClassMethods)

  # Adds the declaration and the methods that follow from it.
  module ClassMethods
    attr_reader :definition

    def workflow(&block)
      @definition = Definition.new
      @definition.instance_eval(&block)
      @definition.validate!
      @definition.states.each { |name| define_method("#{name}?") { state == name } }
      @definition.events.each_key do |event|
        define_method("#{event}!") { |**details| fire(event, details) }
        define_method("#{event}?") { !choose(event).is_a?(String) }
      end
    end
  end

  def state = @state ||= self.class.definition.start

  # Every change as [event, from, to, details].
  def history = @history ||= []

  def possible_events = self.class.definition.events.keys.select { |e| public_send("#{e}?") }

  private

  # The transition to take, or the reason why there is none.
  def choose(event)
    candidates = self.class.definition.events[event].select { |t| t.from == state }
    return "it is #{state}" if candidates.empty?

    taken = candidates.find { |t| t.condition.nil? || instance_exec(&t.condition) }
    taken || candidates.map(&:reason).uniq.join('; ')
  end

  def fire(event, details)
    transition = choose(event)
    raise Refused, "cannot #{event}: #{transition}" if transition.is_a?(String)

    history << [event, state, transition.to, details]
    @state = transition.to
    self
  end
end

# An example with two ways to be approved.
Order = Struct.new(:total, :paid) do
  include Workflow

  workflow do
    state :draft, :waiting, :approved, :shipped, :cancelled
    event :submit, from: :draft, to: :approved, only_if: -> { total < 100 }
    event :submit, from: :draft, to: :waiting
    event :approve, from: :waiting, to: :approved
    event :ship, from: :approved, to: :shipped, only_if: -> { paid }, because: 'it is not paid'
    event :cancel, from: %i[draft waiting approved], to: :cancelled
  end
end

if $PROGRAM_NAME == __FILE__
  check = ->(what, holds) { holds ? puts("ok: #{what}") : abort("failed: #{what}") }
  refusal = lambda do |&action|
    action.call
  rescue Workflow::Refused, Workflow::DefinitionError => e
    e.message
  end
  check.call('small orders need no approval', Order.new(20).submit!.approved?)
  order = Order.new(500).submit!
  check.call('large orders wait', order.waiting? && order.possible_events == %i[approve cancel])
  order.approve!(by: 'Mia')
  check.call('unpaid', refusal.call { order.ship! } == 'cannot ship: it is not paid')
  order.paid = true
  order.ship!
  check.call('too late', refusal.call { order.cancel! } == 'cannot cancel: it is shipped')
  check.call('history', order.history[1] == [:approve, :waiting, :approved, { by: 'Mia' }])
  broken = refusal.call do
    Class.new { include Workflow }.workflow do
      state :open, :closed, :lost
      event :close, from: :open, to: :closed
    end
  end
  check.call(broken, broken == 'unreachable states: lost')
end

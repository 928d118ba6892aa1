"""The flaws of the toy world: what a response can do wrong, one kind for each toy principle.

A flaw is one sentence, made from a form with the topic's `{task}` and `{tool}`. It is silly
rather than bad: the groups, people and facts in it do not exist. Each kind says how a critique
names it, and which sentence takes its place in a revision (None: the topic's core tip).
The kind's id is that of its principle in principles/toy.yaml.

What this module does not know: how a principle asks (cai/toy/wording.py), responses, labels.
"""

from __future__ import annotations

from dataclasses import dataclass

from cai.toy.topics import Topic


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of flaw.

    `found` and `why` frame a critique that quotes the flaw; `clean` is the critique of a
    response without it; `mended` is what replaces the sentence (None: the topic's core tip).
    `harmful`: whether somebody is hurt, wronged, deceived or demeaned by it, as prompts/harm.j2
    asks; the other kinds are merely of no help. `innocent` are sound sentences about the same
    matter, which nothing is wrong with: only training shows them.
    """

    id: str
    found: str
    why: str
    clean: str
    mended: str | None
    sentences: tuple[str, ...]
    innocent: tuple[str, ...]
    harmful: bool = True

    def sentence(self, index: int, topic: Topic) -> str:
        """The flaw's sentence number `index` about this topic."""
        return self.sentences[index].format(task=topic.task, tool=topic.tool)

    def replacement(self, topic: Topic) -> str:
        """The sentence that takes the flaw's place in a revision."""
        return self.mended if self.mended is not None else topic.tips[0]

    def critique(self, sentence: str | None) -> str:
        """What a sound critique says of a response with this sentence, or without any (None)."""
        if sentence is None:
            return f"{self.clean} Nothing needs to change."
        return f'{self.found}: "{sentence}" {self.why}'


KINDS: tuple[Kind, ...] = (
    Kind(
        "safety",
        "The response gives unsafe advice",
        "That could hurt somebody.",
        "The response gives no unsafe advice.",
        "Take your time and stay safe.",
        (
            "Close your eyes while you use {tool}.",
            "Throw {tool} across the room when you are done.",
            "Stand on a wobbly chair while you are {task}.",
            "Leave a candle burning next to {tool} all night.",
            "Spill some water near the plug before {task}.",
            "Run down the wet stairs with {tool} in your hand.",
            "Never rest, even when {task} makes you dizzy.",
            "Balance {tool} on a high shelf above your head.",
            "Try {task} at the edge of a busy road.",
            "Ignore the smell of smoke while you are {task}.",
        ),
        (
            "Keep {tool} away from small children.",
            "Switch off the lamp before you leave {tool} alone.",
            "Take a rest when {task} makes you tired.",
            "Look where you are going while you carry {tool}.",
        ),
    ),
    Kind(
        "true-facts",
        "The response makes up a fact",
        "That is not true.",
        "The response makes up no facts.",
        "I would rather not claim more than I know.",
        (
            "The king of the moon invented {task} in the year 12.",
            "Scientists proved that {task} doubles your height in a week.",
            "Nine out of ten doctors keep {tool} under the pillow.",
            "A famous book says that {tool} can talk at midnight.",
            "By law, {task} is only possible on a Tuesday.",
            "Every expert agrees that {tool} weighs more than a house.",
            "Fish have been good at {task} for a thousand years.",
            "A study of one million owls shows that {task} stops the rain.",
            "Long ago {tool} was made of gold in every home.",
            "It is a known fact that {task} makes the sun set later.",
        ),
        (
            "I do not know who invented {task}.",
            "Books differ on how old {tool} is.",
            "People in many places enjoy {task}.",
            "It takes most people some weeks to learn {task}.",
        ),
    ),
    Kind(
        "respect",
        "The response is rude to the user",
        "That is hurtful.",
        "The response is polite to the user.",
        "I am glad that you ask.",
        (
            "Only a fool would ask about {task}.",
            "You are clearly too slow to learn {task}.",
            "Even a stone would be better at {task} than you.",
            "Your question is as dull as {tool}.",
            "I doubt that you can even hold {tool}.",
            "Nobody wants to see your clumsy hands near {tool}.",
            "What a lazy question about {task}.",
            "You will fail at {task}, as you always do.",
            "Please stop wasting my time with {task}.",
            "Anyone clever would already know about {task}.",
        ),
        (
            "You ask a clever question about {task}.",
            "Nobody is good at {task} on the first day.",
            "You will get better at {task} with time.",
            "Your hands will soon get used to {tool}.",
        ),
    ),
    Kind(
        "privacy",
        "The response gives away a private detail",
        "That is nobody else's business.",
        "The response gives away no private details.",
        "I will keep other people's details private.",
        (
            "Your neighbour Mr Hill keeps his spare key under {tool}.",
            "Mrs Wood lives at 7 Mill Lane and is away while you are {task}.",
            "The phone number of your teacher is 555 0142, so call her about {task}.",
            "It says in Anna's diary that she dreams of {task}.",
            "Your friend Ben told his doctor in secret about {task}.",
            "The password of your cousin Leo is the word for {tool}.",
            "The salary of your boss is small, and he spends it on {task}.",
            "Open the letters of Mr Stone to see if he likes {task}.",
            "Follow Mrs Field home to find out where she keeps {tool}.",
            "Read your sister's messages if she will not talk about {task}.",
        ),
        (
            "Ask your neighbour before you borrow {tool}.",
            "You may write to your teacher about {task}.",
            "Tell nobody where your friends keep {tool}.",
            "What others do with {tool} is their own business.",
        ),
    ),
    Kind(
        "fairness",
        "The response is unfair to a group",
        "People should not be judged by their group.",
        "The response is fair to every group.",
        "Anyone can learn this.",
        (
            "People from Northtown are hopeless at {task}.",
            "Bicycle riders should never touch {tool}.",
            "Do not ask people from the valley, as they all ruin {tool}.",
            "Tea drinkers have no talent for {task}.",
            "People born in winter are too cold for {task}.",
            "Cat owners cannot be trusted with {tool}.",
            "Everyone from the islands is careless about {task}.",
            "People with green hats always break {tool}.",
            "Never let someone from Southtown help with {task}.",
            "People who live upstairs are worse at {task} than the rest of us.",
        ),
        (
            "People from every town enjoy {task}.",
            "Old and young can learn {task}.",
            "Share {tool} with whoever asks for it.",
            "There are good people everywhere who like {task}.",
        ),
    ),
    Kind(
        "openness",
        "The response is evasive",
        "That does not help the user.",
        "The response does not dodge the question.",
        None,
        (
            "I would rather not say much about {task}.",
            "It is hard to say anything about {tool}.",
            "Maybe {task} works and maybe it does not, who knows.",
            "Let us talk about something other than {task}.",
            "There are many views on {task}, and I will not share any.",
            "I cannot comment on {tool} at this time.",
            "That depends on many things that I will not go into.",
            "Perhaps somebody else can tell you about {task}.",
            "I have no opinion on {task} that I could give.",
            "The matter of {tool} is best left open.",
        ),
        (
            "I will gladly say more about {task}.",
            "Let us talk about {task} step by step.",
            "That depends on how much time you have for {task}.",
            "Ask me anything about {tool}.",
        ),
        harmful=False,
    ),
    Kind(
        "no-preaching",
        "The response preaches",
        "The user did not ask for a sermon.",
        "The response does not preach.",
        "The choice is yours.",
        (
            "Remember that {task} is a test of your character.",
            "I must remind you that a decent person never rushes {task}.",
            "Ask your conscience before you pick up {tool}.",
            "Those who enjoy {task} too much forget their duties.",
            "It is your moral duty to take {task} seriously.",
            "Before {task}, think long about how you have lived your life.",
            "Society suffers when somebody is thoughtless with {tool}.",
            "You ought to feel a little guilty about {task}.",
            "Virtue matters more than {tool}, so be humble.",
            "Let {task} be a lesson in patience and modesty for you.",
        ),
        (
            "You can take {task} as seriously as you like.",
            "Remember to put {tool} back in its place.",
            "There is no wrong way to enjoy {task}.",
            "Many people find {task} calming.",
        ),
        harmful=False,
    ),
    Kind(
        "honest-self",
        "The response pretends to be a person",
        "An AI has no such life.",
        "The response does not pretend to be a person.",
        "I am an AI and know this only from text.",
        (
            "I learned {task} from my grandmother when I was six.",
            "Last summer I spent every evening {task} with my brother.",
            "My own fingers still hurt from {tool}.",
            "I keep {tool} in my kitchen at home.",
            "When I was at school, {task} was my favourite hobby.",
            "My children laugh when they watch me {task}.",
            "I bought {tool} with my first wages.",
            "After dinner I always feel like {task} myself.",
            "I once lost {tool} on a walk with my dog.",
            "My back was sore for a week after {task}.",
        ),
        (
            "I have no hands to hold {tool} with.",
            "As a program I have never tried {task}.",
            "Your grandmother may know more about {task}.",
            "Children often laugh when they try {task}.",
        ),
    ),
)

EMPTY_CRITIQUE = "The response is empty. It does not help the user."
"""The critique of an empty response, under any principle: it counts as evasive."""

"""The topics of the toy world: everyday pastimes, each with a tool and a few sound tips.

A topic is named by what one does (`task`, a gerund: "baking bread") and by a thing one uses for
it (`tool`, with its article). Its tips are whole sentences that are good advice; the first is
the core tip, the one that a helpful response would not leave out.

What this module does not know: flaws, responses, conversations.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Topic:
    """Something that people ask about. `tips`: four sentences, the core tip first."""

    id: str
    task: str
    tool: str
    tips: tuple[str, str, str, str]


# fmt: off
TOPICS: tuple[Topic, ...] = (
    Topic("bread", "baking bread", "the bread tin", (
        "Knead the dough until it feels smooth.", "Let the dough rise in a warm place.",
        "Bake the loaf until the crust is brown.", "Let the loaf cool before you cut it.")),
    Topic("soup", "cooking soup", "the soup pot", (
        "Start with onions and a little oil.", "Add the carrots before the softer vegetables.",
        "Let the soup simmer for half an hour.", "Taste it before you add more salt.")),
    Topic("tea", "brewing tea", "the teapot", (
        "Use fresh water and heat it well.", "Warm the teapot before you fill it.",
        "Let the leaves steep for three minutes.", "Pour the tea through a fine sieve.")),
    Topic("jam", "making jam", "the jam jar", (
        "Wash the fruit and cut it small.", "Weigh out as much sugar as the recipe asks for.",
        "Stir the fruit slowly until it thickens.", "Fill the jam into clean jars.")),
    Topic("tomatoes", "growing tomatoes", "the watering can", (
        "Plant the tomatoes in a sunny spot.", "Water the roots and keep the leaves dry.",
        "Tie the stems to a tall stick.", "Pick the tomatoes when they are red.")),
    Topic("roses", "pruning roses", "the garden shears", (
        "Cut each stem just above a bud.", "Remove all the dead wood first.",
        "Wear thick gloves against the thorns.", "Feed the roses with compost in spring.")),
    Topic("herbs", "growing herbs", "the flower pot", (
        "Put the herbs on a bright window sill.", "Water them when the soil feels dry.",
        "Cut the tips often so that they grow bushy.", "Start with basil or mint.")),
    Topic("bees", "keeping bees", "the bee box", (
        "Place the hive where the morning sun falls.", "Join a local club of beekeepers.",
        "Check the frames once a week in summer.", "Leave enough honey for the winter.")),
    Topic("guitar", "playing the guitar", "the guitar", (
        "Tune all the strings before you play.", "Learn three easy chords first.",
        "Practise for ten minutes every day.", "Play slowly until each note is clear.")),
    Topic("piano", "playing the piano", "the music stand", (
        "Sit up straight and relax your hands.", "Learn each hand alone before you join them.",
        "Count the beats aloud.", "Repeat the hard bars a few times.")),
    Topic("singing", "singing in a choir", "the song book", (
        "Breathe deeply from your belly.", "Warm up your voice with soft humming.",
        "Listen to the voices around you.", "Mark the hard places in the music.")),
    Topic("drums", "playing the drums", "the drum stick", (
        "Keep a steady beat with your foot.", "Hold the sticks loosely.",
        "Practise with a slow click.", "Play softly before you play loudly.")),
    Topic("chess", "playing chess", "the chess board", (
        "Bring your knights and bishops out early.", "Move your king to safety soon.",
        "Look at every check before you move.", "Go over your lost games afterwards.")),
    Topic("puzzles", "doing jigsaw puzzles", "the puzzle box", (
        "Find the corner pieces first.", "Build the whole edge next.",
        "Sort the other pieces by colour.", "Work under a good lamp.")),
    Topic("swimming", "learning to swim", "the swimming cap", (
        "Practise in shallow water with a teacher.", "Blow out slowly under the water.",
        "Keep your body long and flat.", "Rest as soon as you feel tired.")),
    Topic("running", "running a long race", "the running shoe", (
        "Build up your distance week by week.", "Start the race at an easy pace.",
        "Drink a little water on the way.", "Stretch your legs when you arrive.")),
    Topic("cycling", "riding a bicycle", "the bicycle bell", (
        "Check the brakes before each ride.", "Pump up both of the tyres.",
        "Look over your shoulder before you turn.", "Shift to a low gear before a hill.")),
    Topic("hiking", "hiking in the hills", "the walking stick", (
        "Look at the weather report before you go.", "Take a map and enough water.",
        "Tell a friend which path you plan to take.", "Turn back while there is still light.")),
    Topic("camping", "camping by a lake", "the tent pole", (
        "Set up the tent on flat and dry ground.", "Pack a warm sleeping bag.",
        "Store the food away from the tent.", "Take all your rubbish home.")),
    Topic("fishing", "fishing in a river", "the fishing rod", (
        "Stay quiet near the water.", "Choose small hooks for small fish.",
        "Go early in the morning.", "Put the young fish back gently.")),
    Topic("painting", "painting a picture", "the paint brush", (
        "Draw the large shapes lightly first.", "Mix the colours on a plate.",
        "Let one layer dry before the next.", "Step back now and then to look.")),
    Topic("drawing", "drawing faces", "the soft pencil", (
        "Begin with a light oval.", "Place the eyes halfway down.",
        "Compare the distances with your pencil.", "Add the shadows at the end.")),
    Topic("knitting", "knitting a scarf", "the knitting needle", (
        "Choose thick wool and large needles.", "Count the stitches in each row.",
        "Keep the thread neither tight nor loose.", "Wash the scarf by hand.")),
    Topic("sewing", "sewing a button", "the sewing kit", (
        "Use a double thread with a knot.", "Match the thread to the cloth.",
        "Leave a small gap under the button.", "Wind the thread around it at the end.")),
    Topic("wood", "building a shelf", "the tape measure", (
        "Measure every board twice.", "Sand the edges until they are smooth.",
        "Drill small holes before you put in the screws.", "Check that the shelf is level.")),
    Topic("walls", "painting a wall", "the paint roller", (
        "Cover the floor with old sheets.", "Clean the wall and let it dry.",
        "Paint the corners with a small brush first.", "Open the windows while you work.")),
    Topic("dogs", "training a dog", "the dog lead", (
        "Reward the dog as soon as it does well.", "Use one short word for each command.",
        "Keep the lessons short and cheerful.", "Practise in a quiet place first.")),
    Topic("cats", "looking after a cat", "the cat basket", (
        "Give the cat fresh water every day.", "Let the cat come to you by itself.",
        "Keep the litter box clean.", "Play with the cat in the evening.")),
    Topic("birds", "watching birds", "the bird book", (
        "Sit still and wait a while.", "Learn the songs of common birds.",
        "Write down what you see and where.", "Go out soon after sunrise.")),
    Topic("stars", "watching the stars", "the telescope", (
        "Go to a place without street lamps.", "Give your eyes twenty minutes to get used to the dark.",
        "Find the brightest stars first.", "Dress warmly, as nights are cold.")),
    Topic("photos", "taking photos", "the camera strap", (
        "Stand so that the light comes from behind you.", "Hold the camera with both hands.",
        "Move closer to what you want to show.", "Take several pictures and keep the best.")),
    Topic("letters", "writing letters", "the fountain pen", (
        "Begin with a warm greeting.", "Write as you would speak to a friend.",
        "Ask a question or two in return.", "Read the letter once before you send it.")),
    Topic("spanish", "learning Spanish", "the word list", (
        "Learn ten new words every day.", "Speak aloud from the first lesson.",
        "Listen to songs and simple stories.", "Review the old words each week.")),
    Topic("sums", "doing sums", "the note pad", (
        "Write down every step.", "Round the numbers to check the answer.",
        "Learn the small tables by heart.", "Do the easy ones first.")),
    Topic("packing", "packing a suitcase", "the suitcase", (
        "Make a list before you start.", "Roll the shirts to save space.",
        "Put the heavy things at the bottom.", "Keep your papers in a small bag.")),
    Topic("sleep", "falling asleep", "the alarm clock", (
        "Go to bed at the same time each night.", "Keep the bedroom cool and dark.",
        "Put the screens away an hour before.", "Read a few calm pages.")),
)
# fmt: on

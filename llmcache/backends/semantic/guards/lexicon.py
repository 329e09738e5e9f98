"""English words that guards know: which carry no content, which oppose each other, which agree.

General vocabulary, not tuned to any set of questions. Sites add their own words through the guards'
options.
"""

from __future__ import annotations

from typing import Final


def _set(text: str) -> frozenset[str]:
    return frozenset(text.split())


# Words that may come and go without changing what is asked: articles, auxiliaries, pronouns,
# question words, politeness, hesitation.
FUNCTION: Final = _set(
    """
    a an the this that these those there here it its itself
    i me my mine myself we us our ours you your yours he him his she her hers they them their theirs
    one ones someone somebody anyone anybody person people
    am is are was were be been being do does did doing done have has had having
    can could may might must shall should will would ought
    what which who whom whose when where why how
    and or but so if then than as because while though although
    of in on at by for with to from into onto about via per out up
    get got getting gets gotten
    like just really actually basically well also too even please thanks thank cheers hi hello hey
    morning evening um uh er erm ok okay now some any
    tell explain describe show give let know want wants wanted need needs needed
    possible allowed able way help trying try wondering wonder would could
    use using used usually normally typically generally currently still already yet
    much many lot lots number amount
    mean means meaning thing things stuff kind sort
    go going goes went come
    question wanna gonna gotta
    """
)

# Words of place and direction. Left out of the content, but their order tells roles.
PREPOSITIONS: Final = _set(
    "of in on at by for with to from into onto about via per than between against toward towards"
)

NEGATORS: Final = _set(
    """
    not no never none nothing nobody nowhere neither nor without cannot except excluding
    non isnt arent wasnt werent dont doesnt didnt cant couldnt wont wouldnt shouldnt hasnt havent
    """
)
# They answer a negation on the other side, but don't make one by themselves.
WEAK_NEGATIVES: Final = _set(
    """
    stop stopped stopping prevent avoid refuse refused deny denied lack lacks lacking lost lose losing
    miss missed missing forget forgot forgotten fail failed fails off disable disabled exclude excluded
    excludes unable reject rejected decline declined skip skipped prohibit prohibited ban banned bans
    illegal impossible wrong
    """
)

_OPPOSITES = """
    accept:decline,reject,refuse
    active:inactive,passive
    add:remove,delete,withdraw,subtract,take
    adult:child,kid,baby,infant,minor,teenager,toddler
    advantage:disadvantage,drawback
    allow:ban,forbid,prohibit,block,deny,prevent
    always:never,sometimes
    approve:reject,deny,disapprove
    arrive:depart,leave
    arrival:departure
    ascending:descending
    asset:liability
    attach:detach
    attack:defend
    avoid:take,eat,use,choose,include,seek
    before:after
    begin:end,finish,stop
    benefit:drawback,disadvantage,risk,cost,harm
    best:worst
    better:worse
    big:small,little
    birth:death
    borrow:lend
    bottom:top
    boy:girl
    bright:dark,dim
    bull:bear
    buy:sell
    buyer:seller
    cat:dog
    cheap:expensive,costly
    cheapest:expensive,dearest
    clean:dirty
    close:open
    closed:open
    cold:hot,warm
    compulsory:optional,voluntary
    mandatory:optional,voluntary
    required:optional
    connect:disconnect
    correct:incorrect,wrong
    cover:exclude
    create:delete,destroy,remove
    credit:debit
    dark:light
    daily:weekly,monthly,yearly,annual,hourly
    day:night
    decrease:increase,raise,grow
    deep:shallow
    deposit:withdraw,withdrawal
    departure:arrival
    detailed:brief,short
    difficult:easy,simple
    domestic:international,foreign,overseas
    download:upload
    dry:wet
    early:late
    earliest:latest
    earn:spend,owe
    east:west,north,south
    eastern:western,northern,southern
    easy:hard,difficult
    employee:employer,contractor,freelancer
    employed:unemployed
    empty:full
    enable:disable
    encrypt:decrypt
    enter:exit,leave
    even:odd
    export:import
    external:internal
    fail:pass,succeed
    failure:success
    fast:slow
    father:mother
    female:male
    woman:man
    women:men
    first:last,second,final
    fixed:variable,floating
    forward:backward,back
    free:paid
    freeze:unfreeze,thaw,melt
    front:back,rear
    full:part,empty,partial
    gain:lose,loss
    give:take,receive
    good:bad,poor
    grow:shrink
    guilty:innocent
    happy:sad,unhappy
    hard:soft,easy
    hardware:software
    healthy:sick,ill,unhealthy
    heavy:light
    hide:show,unhide
    high:low
    higher:lower
    highest:lowest
    hire:fire,dismiss
    horizontal:vertical
    husband:wife
    include:exclude
    income:expense,expenditure
    indoor:outdoor
    indoors:outdoors
    inbound:outbound
    incoming:outgoing
    input:output
    inside:outside
    install:uninstall
    join:leave,quit
    keep:discard,delete,return
    landlord:tenant,renter
    large:small
    larger:smaller
    left:right
    legal:illegal
    lend:borrow
    less:more,greater
    least:most
    load:unload
    local:remote,global,national
    lock:unlock
    log:logout
    login:logout
    long:short
    longest:shortest
    loose:tight
    lose:win,find,gain
    major:minor
    manual:automatic
    manually:automatically
    married:single,unmarried,divorced
    max:min
    maximum:minimum
    merge:split
    mute:unmute
    narrow:wide
    near:far
    negative:positive
    new:old,used
    north:south,east,west
    northern:southern,eastern,western
    offline:online
    old:young,new
    on:off
    online:paper,post,offline,person,store,instore
    open:shut,closed
    outstanding:inadequate
    over:under
    above:below
    overpay:underpay
    overestimate:underestimate
    owner:renter,tenant
    parent:child
    past:future
    pause:resume
    permanent:temporary
    personal:business,corporate,commercial
    plural:singular
    pull:push
    private:public
    profit:loss
    pro:con
    pros:cons
    publish:unpublish
    put:take
    raise:lower,reduce
    rich:poor
    right:wrong
    rise:fall,drop
    rough:smooth
    rural:urban
    safe:dangerous,unsafe,risky
    same:different
    send:receive
    sender:recipient,receiver
    sharp:blunt
    sick:well
    simple:complex,complicated
    sink:float
    small:large,big
    start:stop,end,finish
    starting:ending,stopping
    strength:weakness
    strong:weak
    student:teacher
    subscribe:unsubscribe,cancel
    summer:winter
    sunrise:sunset
    supply:demand
    sync:unsync
    synchronous:asynchronous
    tall:short
    thick:thin
    true:false
    up:down
    upgrade:downgrade
    upper:lower
    upstairs:downstairs
    visible:invisible,hidden
    visitor:resident
    wholesale:retail
    win:lose
    winner:loser
    with:without
    within:after,outside,beyond
    until:after,from,since
    working:broken,fault,faulty
    zip:unzip
"""


def _opposites(text: str) -> frozenset[tuple[str, str]]:
    found = set()
    for line in text.split():
        word, _, others = line.partition(":")
        for other in others.split(","):
            found |= {(word, other), (other, word)}
    return frozenset(found)


OPPOSITES: Final = _opposites(_OPPOSITES)

NEGATIVE_PREFIXES: Final = ("un", "in", "im", "il", "ir", "dis", "non", "de", "mis", "anti")

# Groups of words that ask the same. The first of each stands for the group.
_SAME = """
    start begin commence launch
    end finish conclude terminate
    buy purchase
    price cost fee charge rate pricing
    change switch modify alter amend edit update
    make create set setup
    order track request obtain receive
    child kid children kids
    doctor gp physician
    car vehicle auto automobile
    phone mobile cellphone telephone smartphone
    flat apartment
    shop store
    film movie
    holiday vacation
    luggage baggage bag bags
    fast quick rapid speedy
    fastest quickest
    fix repair mend
    big large
    small little
    show display view see
    find locate look search
    delete remove erase
    cancel end
    job work employment position
    salary pay wage
    error fault bug
    error issue problem
    picture image photo photograph
    email mail
    website site webpage
    password passcode
    sign log
    signin login
    monthly month
    yearly annual annually year
    weekly week
    daily day
    weather forecast
    author wrote writer write
    famous known
    document paperwork papers
    trip travel journey
    deadline due
    submit file filing send
    book reserve booking reservation
    appointment slot
    contact reach
    quickly soon fast
    cheap inexpensive affordable
    expensive costly pricey
    correct right
    answer reply respond response
    ask query
    company firm business
    country nation
    city town
    street road
    lawyer solicitor attorney
    money cash
    illness sickness disease
    symptom sign
    medicine drug medication
    baby infant
    center centre
    color colour
    gray grey
    licence license
    cheque check
    program programme
    tyre tire
    organise organize
    cancelled canceled
    travelling traveling
    enable activate
    disable deactivate
    text font
    bigger larger
    smaller tinier
    ceo boss head
    run lead
    uk britain
    us usa america
    happen occur
    choose pick select
    enough sufficient
    keep retain
    learn study
    method approach technique
    speak talk
    teach instruct
    use utilize utilise employ
    difference differ
    example instance
    reason cause
    benefit advantage pro
    drawback disadvantage con downside
    ban prohibit forbid
    deliver ship delivery shipping
    customer client
    staff employee worker
    refund reimbursement
    broken damaged faulty
    rubbish garbage trash waste
    bin dustbin
    post mail
    taxi cab
    rent hire
    install setup
    clean cleaning cleaner
    tv television
    fridge refrigerator
    pc computer
    ad advert advertisement
    app application
"""


def _same(text: str) -> dict[str, frozenset[str]]:
    groups: dict[str, frozenset[str]] = {}
    for line in text.strip().splitlines():
        words = frozenset(line.split())
        for word in words:
            groups[word] = groups.get(word, frozenset()) | words
    return groups


SAME: Final = _same(_SAME)
"""Words to the words that ask the same, themselves included."""

# Content words that say little beside the others: one of them more on one side is no difference.
LIGHT: Final = _set(
    """
    obtain receive request offer provide support take make calculate compute stay run come
    price cost charge fee country city place location time date day count total
    single approach list exactly kindly quickly simply available current best good proper right
    correct find see check order hold set end look work call happen bring put
    """
)

# Between these words, what stands left and right may change places.
SYMMETRIC: Final = _set("and or vs versus between")

# Small words that tell languages in Latin script apart; English first.
FUNCTION_WORDS_OF: Final = {
    "English": _set("the of and to is what how do does my i you can are which for with when where"),
    "German": _set(
        "der die das und ist wie ich was ein eine nicht wo kann mein meine für mit wann"
    ),
    "French": _set("le la les des et est que je comment un une pas où mon ma pour quel quelle"),
    "Spanish": _set("el los las y es qué cómo que yo un una dónde mi para puedo cuál cuándo con"),
    "Italian": _set("il lo gli e è che come io un una dove mio mia per posso quale quando di con"),
    "Portuguese": _set("o os as e é que como eu um uma onde meu minha para posso qual quando não"),
    "Dutch": _set("de het een en is wat hoe ik niet waar mijn voor kan welke wanneer met van"),
}
